import { MainActions } from "./MainActions";

/** What this is, for whoever opens it the first time: shown while nothing was edited yet. */
export function FirstSteps() {
  return (
    <section class="card welcome" aria-labelledby="welcome">
      <h2 id="welcome">Correct what the model says, without training it again</h2>
      <ol class="steps">
        <li>
          <strong>Say what is wrong.</strong> Type a sentence that the model goes on from, mark whom it is about, and give the right answer.
        </li>
        <li>
          <strong>See what it does.</strong> A few weights are changed, and the result is measured: is the new answer said, and is everything else left alone?
        </li>
        <li>
          <strong>Keep it, or go back.</strong> Each correction is a version of its own. Any of them can be asked, compared, moved to production, or taken out.
        </li>
      </ol>
      <MainActions />
    </section>
  );
}
