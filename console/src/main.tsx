import { render } from "preact";
import { App } from "./app";
import { serverIsHere, send } from "./api/client";
import { learnOffers, scopesAreKnown } from "./api/offers";
import { keyIsWanted } from "./api/session";
import { followAddress } from "./router";
import { goOnWhenBack } from "./state/resource";
import "./style/base.css";
import "./style/parts.css";
import "./style/rooms.css";

const KNOCK_MILLISECONDS = 2000;

followAddress();
goOnWhenBack();
const root = document.getElementById("console");
if (root) render(<App />, root);
void start();

/** Learn what there is, and again where that failed; while the server is away, knock until it answers. */
async function start(): Promise<void> {
  if (!scopesAreKnown.value && !keyIsWanted.value) await learnOffers().catch(() => undefined);
  else if (!serverIsHere.value) await send("get", "/livez").catch(() => undefined);
  setTimeout(() => void start(), KNOCK_MILLISECONDS);
}
