// The API's document, and where it is served: below the folder that this page stands in, whatever a proxy puts before it.
const place = document.getElementById("reference");

async function readDocument() {
  const answer = await fetch("./openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  const found = await answer.json();
  found.servers ??= [{ url: new URL(".", location.href).href.replace(/\/$/, "") }];
  return found;
}

function tell(error) {
  place.textContent = `The API's document cannot be shown: ${error.message}. Load the page again.`;
}
