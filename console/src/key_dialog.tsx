import { useState } from "preact/hooks";
import { Problem } from "./api/problem";
import { learnOffers } from "./api/offers";
import { keyIsWanted, keyProblem, setKey } from "./api/session";
import { useAction } from "./parts/action";
import { Dialog } from "./parts/Dialog";
import { TextField } from "./parts/Field";

/** Over the room, which stays as it is: what was typed there is still there when a key has been given. */
export function KeyDialog() {
  const [typed, setTyped] = useState("");
  const give = useAction(async () => {
    setKey(typed);
    try {
      await learnOffers();
      keyIsWanted.value = false;
    } catch (error) {
      // What the server says of the key is shown below the field; the rest is no fault of the key's.
      if (!(error instanceof Problem && error.status === 401)) throw error;
    }
  });
  return (
    <Dialog title="API key">
      <p class="soft">This server answers only to those who have a key.</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void give.run();
        }}
      >
        <TextField
          label="Key"
          isSecret
          value={typed}
          onInput={setTyped}
          error={keyProblem.value ?? undefined}
          hint="Kept in this tab until it is closed, and sent to this server alone. Administrators make keys under Health, or with: emmetd keys create"
        />
        {give.problem && <p class="wrong" role="alert">{give.problem.detail}</p>}
        <button type="submit" disabled={typed.trim() === "" || give.isRunning}>
          Continue
        </button>
      </form>
    </Dialog>
  );
}
