#!/usr/bin/env bash
# Guess:   The CloudEvents SDK for JavaScript reads what other SDKs and frameworks send: a content type is the same with `;charset=UTF-8` as without, as HTTP says, and as
#          the SDK for Python reads it. The data of a JSON event is an object in binary mode and in structured mode.
# Happens: It compares the whole header with four texts, of which only `; charset=utf-8`, in small letters and with its blank, has a parameter. A structured event with
#          any other spelling is refused ("invalid content type"). A binary one is taken without a word, but its data stays a text: `event.data.outcome` is
#          undefined, and a receiver that branches on it drops the event and answers 2xx, so that nobody sends it again.
# Version: cloudevents 10.0.0 (npm), Node 20
# Source:  running it; `parserByContentType` in dist/parsers.js, asked with the whole header in dist/message/http/index.js. Issue 23 was the same in 2019, for one spelling
# Advice:  Before `HTTP.toEvent`, cut the parameters: headers["content-type"] = headers["content-type"].split(";")[0].trim().toLowerCase(), where the body is UTF-8.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm install --silent --no-audit --no-fund --ignore-scripts cloudevents@10.0.0 >/dev/null

cat >look.mjs <<'JAVASCRIPT'
import { HTTP } from "cloudevents";

const data = { outcome: "failed" };
const attributes = { id: "1", source: "backups", specversion: "1.0", type: "task.ended" };
const structured = (type) => ({ headers: { "content-type": type }, body: JSON.stringify({ ...attributes, data }) });
const binary = (type) => {
  const known = Object.entries(attributes).map(([name, value]) => [`ce-${name}`, value]);
  return { headers: { ...Object.fromEntries(known), "content-type": type }, body: JSON.stringify(data) };
};
const outcome = (message) => {
  try {
    return String(HTTP.toEvent(message).data.outcome);
  } catch (error) {
    return error.message.split(" application")[0];
  }
};
const asAdvised = ({ headers, body }) => ({ headers: { ...headers, "content-type": headers["content-type"].split(";")[0].trim().toLowerCase() }, body });

const expected = {
  "": ["failed", "failed"],
  "; charset=utf-8": ["failed", "failed"],
  ";charset=utf-8": ["invalid content type", "undefined"],
  "; charset=UTF-8": ["invalid content type", "undefined"],
  ";charset=UTF-8": ["invalid content type", "undefined"],
};
let changed = false;
for (const [parameter, [whole, parts]] of Object.entries(expected)) {
  const messages = [structured(`application/cloudevents+json${parameter}`), binary(`application/json${parameter}`)];
  const seen = messages.map(outcome);
  console.log(`${JSON.stringify(parameter)}: structured ${seen[0]}, binary ${seen[1]}`);
  const advised = messages.map(asAdvised).map(outcome);
  changed ||= seen[0] !== whole || seen[1] !== parts || advised.some((each) => each !== "failed");
}
if (changed) console.log("CHANGED: this is not what the head of this script describes");
process.exit(changed ? 1 : 0);
JAVASCRIPT

node look.mjs
