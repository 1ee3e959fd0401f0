import { useEffect } from "preact/hooks";
import { serverIsHere } from "./api/client";
import { offers, scopesAreKnown, serverVersion } from "./api/offers";
import { forgetKey, hasKey, keyIsWanted, keyProblem } from "./api/session";
import { KeyDialog } from "./key_dialog";
import { Notice } from "./parts/Notice";
import { ModelSelect } from "./parts/ModelSelect";
import { DeploymentRoom } from "./rooms/deployments/DeploymentRoom";
import { DeploymentsRoom } from "./rooms/deployments/DeploymentsRoom";
import { EditRoom } from "./rooms/edit/EditRoom";
import { EvaluationRoom } from "./rooms/evaluations/EvaluationRoom";
import { EvaluationsRoom } from "./rooms/evaluations/EvaluationsRoom";
import { HealthRoom } from "./rooms/health/HealthRoom";
import { JobRoom } from "./rooms/job/JobRoom";
import { JobsRoom } from "./rooms/job/JobsRoom";
import { CompareRoom } from "./rooms/models/CompareRoom";
import { ModelsRoom } from "./rooms/models/ModelsRoom";
import { PlaygroundRoom } from "./rooms/playground/PlaygroundRoom";
import { RequestsRoom } from "./rooms/requests/RequestsRoom";
import { VersionRoom } from "./rooms/version/VersionRoom";
import { href, route } from "./router";

/** Name, address, and whether it is offered. */
const ROOMS: readonly [string, string, () => boolean][] = [
  ["Models", "models", () => true],
  ["New edit", "edit", () => offers("post", "/v1/edits")],
  ["Jobs", "jobs", () => offers("get", "/v1/edits")],
  ["Playground", "playground", () => offers("post", "/v1/completions")],
  ["Evaluations", "evaluations", () => offers("get", "/v1/evaluations")],
  ["Deployments", "deployments", () => offers("get", "/v1/deployments")],
  ["Health", "health", () => true],
];

export function App() {
  const here = route.value.parts[0] ?? "models";
  return (
    <>
      <a class="skip" href="#room" onClick={skip}>
        To the content
      </a>
      <header class="top">
        <a class="brand" href={href("models")}>
          <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
            <path d="M4 3v14M4 10h5a5 5 0 0 0 5-5V3" />
            <circle cx="4" cy="3" r="2.2" />
            <circle cx="4" cy="17" r="2.2" />
            <circle class="tip" cx="14" cy="3" r="2.6" />
          </svg>
          emmetd <small>{serverVersion.value}</small>
        </a>
        <nav aria-label="Rooms">
          {ROOMS.filter(([, , isOffered]) => scopesAreKnown.value && isOffered()).map(([name, path]) => (
            <a key={path} href={href(path)} aria-current={here === path ? "page" : undefined}>
              {name}
            </a>
          ))}
        </nav>
        {hasKey() && (
          <button type="button" class="quiet" onClick={anotherKey}>
            Change key
          </button>
        )}
      </header>
      {!serverIsHere.value && (
        <Notice kind="bad">
          <strong>The server does not answer.</strong> Nothing that you typed is lost; the console goes on when it is back.
        </Notice>
      )}
      <main id="room" tabIndex={-1}>
        {scopesAreKnown.value ? (
          <>
            <ModelSelect />
            <Room />
          </>
        ) : (
          !keyIsWanted.value && serverIsHere.value && <p role="status" class="soft">Asking the server…</p>
        )}
      </main>
      <footer>
        <span class="soft">Everything here can be done over HTTP:</span> <a href="openapi.json">the API's document</a> <a href="metrics">metrics</a>
      </footer>
      {keyIsWanted.value && <KeyDialog />}
    </>
  );
}

function Room() {
  const [room = "models", name, what, version] = route.value.parts;
  const shown = ROOMS.find(([, path]) => path === room)?.[0] ?? "Models";
  useEffect(() => {
    document.title = `${name ?? shown} · emmetd`;
  }, [shown, name]);
  if (!ROOMS.some(([, path, isOffered]) => path === room && isOffered())) return <ModelsRoom />;
  if (room === "edit") return <EditRoom />;
  if (room === "jobs") return name ? <JobRoom key={name} id={name} /> : <JobsRoom />;
  if (room === "playground") return <PlaygroundRoom />;
  if (room === "evaluations") return name ? <EvaluationRoom key={name} id={name} /> : <EvaluationsRoom />;
  if (room === "health") return <HealthRoom />;
  if (name && what === "versions" && version) return <VersionRoom key={`${name} ${version}`} model={name} version={version} />;
  if (name && what === "requests" && offers("get", "/v1/models/{model}/alias-requests")) return <RequestsRoom key={name} model={name} />;
  if (room === "deployments") return name ? <DeploymentRoom key={name} id={name} /> : <DeploymentsRoom />;
  if (name && what === "compare") return <CompareRoom model={name} />;
  return <ModelsRoom />;
}

/** The address after # is the room's: the browser's own jump would leave it. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("room")?.focus();
}

function anotherKey(): void {
  forgetKey();
  keyProblem.value = null;
  keyIsWanted.value = true;
}
