import { offers } from "../../api/offers";
import { href } from "../../router";

/** What most people come for, as far as their key allows it. */
export function MainActions() {
  return (
    <p class="actions">
      {offers("post", "/v1/edits") && (
        <a class="button" href={href("edit")}>
          Correct a fact
        </a>
      )}
      {offers("post", "/v1/completions") && (
        <a class="button second" href={href("playground")}>
          Ask it
        </a>
      )}
    </p>
  );
}
