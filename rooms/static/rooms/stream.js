// Server-sent events, read with fetch and not with EventSource: that one comes back by itself, whatever it was told, and
// says nothing of a refusal's status. A stream that something between here and the server collects is found by its
// silence: the server comments every 15 s.

import { endOf } from "./http.js";
import { overHttp } from "./over-http.js";

const QUIET = 40_000; // ms: two comments are missing

/**
 * @param {URL} base the folder of the endpoints
 * @param {() => string} csrfToken
 * @param {import("./websocket.js").Ears} ears
 * @returns {import("./websocket.js").Transport}
 */
export function openStream(base, csrfToken, ears) {
  return overHttp(base, csrfToken, ears, QUIET, listen);
}

/** @type {import("./over-http.js").Listen} */
async function listen({ base, places, signal, alive, handle }) {
  const response = await fetch(new URL(`stream?${places.query()}`, base), {
    headers: { Accept: "text/event-stream" },
    cache: "no-store",
    signal,
  });
  if (!response.ok) return endOf(response);
  if (!response.body || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
    return { code: 1006, reason: "no stream" };
  }
  await read(response.body, alive, ({ id, data }) => {
    const frame = JSON.parse(data);
    handle(frame); // the answers to the joins come with an id too: they are told before the places move
    if (id && !signal.aborted) places.moved(id);
  });
  return { code: 1006, reason: "the stream ended" };
}

/**
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @param {() => void} alive
 * @param {(event: { id: string, data: string }) => void} tell
 */
async function read(body, alive, tell) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let event = { id: "", data: "" };
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("data: ")) event.data += line.slice(6);
      else if (line.startsWith("id: ")) event.id = line.slice(4);
      else if (line === "" || line === "\r") {
        if (event.data) tell(event);
        event = { id: "", data: "" };
      }
    }
  }
}
