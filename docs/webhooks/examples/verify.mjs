// Checks one webhook, as a CGI program gets it: the body on standard input, headers and secret in the environment.
//
//     WEBHOOK_SECRET=whsec_… HTTP_WEBHOOK_ID=… HTTP_WEBHOOK_TIMESTAMP=… HTTP_WEBHOOK_SIGNATURE=… \
//         node verify.mjs standard [folder] < body
//
// `body` instead of `standard` checks X-Mailement-Signature or X-Maily-Signature. With a folder, `standard` keeps
// the ids there. Prints `first` or `again` and ends with 0; ends with 1 if the webhook is not genuine.

import { readFileSync } from "node:fs";

// region receive
import { createHmac, timingSafeEqual } from "node:crypto";
import { closeSync, openSync } from "node:fs";

function isSame(expected, given) {
  const [one, other] = [Buffer.from(expected), Buffer.from(given)];
  return one.length === other.length && timingSafeEqual(one, other);
}

// headers: names in lower case, as Node's request.headers. body: a Buffer, as it arrived.
export function isGenuine(secret, headers, body) {
  const sentId = headers["webhook-id"] ?? "";
  const sentAt = headers["webhook-timestamp"] ?? "";
  if (!sentId || !/^[0-9]{1,12}$/.test(sentAt) || Math.abs(Date.now() / 1000 - Number(sentAt)) > 300) {
    return false;
  }
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const digest = createHmac("sha256", key).update(`${sentId}.${sentAt}.`).update(body).digest("base64");
  const listed = (headers["webhook-signature"] ?? "").split(" ");
  return listed.some((one) => isSame(`v1,${digest}`, one));
}

// signature: the value of X-Mailement-Signature or X-Maily-Signature.
export function isSignedBody(secret, signature, body) {
  const key = "whsec_" + secret.replace(/^whsec_/, "");
  const expected = createHmac("sha256", key).update(body).digest("hex");
  return isSame(expected, signature.replace(/^sha256=/, ""));
}

// After isGenuine, which knows the id to be ours: it becomes the name of a file.
export function isFirst(folder, webhookId) {
  try {
    closeSync(openSync(`${folder}/${webhookId}`, "wx"));
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}
// endregion

const [check, folder] = process.argv.slice(2);
const secret = process.env.WEBHOOK_SECRET;
const headers = {};
for (const [name, value] of Object.entries(process.env)) {
  if (name.startsWith("HTTP_")) headers[name.slice(5).replaceAll("_", "-").toLowerCase()] = value;
}
const body = readFileSync(0);
const signature = headers["x-mailement-signature"] ?? headers["x-maily-signature"] ?? "";
const genuine = check === "standard" ? isGenuine(secret, headers, body) : isSignedBody(secret, signature, body);
if (!genuine) process.exit(1);
console.log(folder === undefined || isFirst(folder, headers["webhook-id"]) ? "first" : "again");
