import { useId, useState } from "preact/hooks";
import { post } from "../../api/client";
import { offers } from "../../api/offers";
import type { AliasRequest, CallerInfo } from "../../api/types";
import { useAction } from "../../parts/action";
import { Facts, type Fact } from "../../parts/Facts";
import { TextField } from "../../parts/Field";
import { ProblemNotice } from "../../parts/Notice";
import { href } from "../../router";
import { refreshAll } from "../../state/resource";
import { when } from "../../text/numbers";
import { changesOf, choicesOf, titleOf, who } from "./choices";

const APPROVE = "/v1/models/{model}/alias-requests/{request_id}/approve";
const REFUSE = "/v1/models/{model}/alias-requests/{request_id}/refuse";

/** A change that waits, and what this key may do about it. */
export function OpenRequest({ request, caller, onDone }: { request: AliasRequest; caller: CallerInfo; onDone: (told: string) => void }) {
  const [reason, setReason] = useState("");
  const id = useId();
  const choices = choicesOf(request, caller);
  const changes = changesOf(request);
  const decide = useAction(async (path: typeof APPROVE | typeof REFUSE, told: string) => {
    const body = reason.trim() === "" ? {} : { reason: reason.trim() };
    try {
      await post(path, body, { path: { model: request.model, request_id: request.id } });
      onDone(told);
    } finally {
      // Also where somebody else was faster: then it is shown what became of it.
      for (const changed of ["requests", "aliases", "models", `version ${request.model}`, "versions"]) refreshAll(changed);
    }
  });
  const mayApprove = choices.mayApprove && offers("post", APPROVE);
  const mayRefuse = choices.mayRefuse && offers("post", REFUSE);
  return (
    <section class="card" aria-labelledby={id}>
      <h2 id={id}>{titleOf(request)}</h2>
      {changes.length > 0 && (
        <ul class="plain">
          {changes.map((change) => (
            <li key={change}>{change}</li>
          ))}
        </ul>
      )}
      <Asked request={request} />
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (mayApprove) void decide.run(APPROVE, `Approved: ${titleOf(request)}`);
        }}
      >
        {(mayApprove || mayRefuse) && (
          <div class="row">
            <TextField label="Reason (optional)" value={reason} placeholder="measured against v3, holds" onInput={setReason} hint="Kept with the request and in the audit log." />
          </div>
        )}
        <p class="actions">
          {mayApprove && (
            <button type="submit" disabled={decide.isRunning}>
              Approve
            </button>
          )}
          {mayRefuse && (
            <button
              type="button"
              class="second"
              disabled={decide.isRunning}
              onClick={() => void decide.run(REFUSE, `${choices.isOwn ? "Withdrawn" : "Refused"}: ${titleOf(request)}`)}
            >
              {choices.isOwn ? "Withdraw" : "Refuse"}
            </button>
          )}
          {choices.hindrance && <span class="soft">{choices.hindrance}</span>}
        </p>
      </form>
      <ProblemNotice problem={decide.problem} />
    </section>
  );
}

function Asked({ request }: { request: AliasRequest }) {
  const { model, expected, version, edit } = request;
  const isMove = version !== null && version !== expected;
  const rows: Fact[] = [
    ["Asked for by", who(request.requested_label, request.requested_by)],
    ["At", <time key="at" dateTime={request.created_at}>{when(request.created_at)}</time>],
    ["Waits until", <time key="until" dateTime={request.expires_at}>{when(request.expires_at)}</time>],
    ["Reason", request.reason],
    ["Made by", edit && offers("get", "/v1/edits/{edit_id}") && <a href={href("jobs", edit)}>the batch that published it</a>],
    ["What it brings", isMove && <a href={href("models", model, "compare", { from: expected, to: version })}>{`${expected} and ${version} compared`}</a>],
  ];
  return <Facts rows={rows} />;
}
