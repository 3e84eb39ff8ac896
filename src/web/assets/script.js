// The small script: passkeys, the reader's own time, and a look whether something has changed.
"use strict";

const token = document.querySelector('meta[name="token"]')?.content;

function bytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (c) => c.charCodeAt(0));
}

function text(buffer) {
  let plain = "";
  for (const byte of new Uint8Array(buffer)) plain += String.fromCharCode(byte);
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

class Refused extends Error {
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", "x-secondkey-token": token },
    body: JSON.stringify(body),
  });
  const said = await answer.text();
  if (answer.ok) return JSON.parse(said);
  let refusal = { message: said.trim() };
  try {
    refusal = JSON.parse(said);
  } catch { /* a sentence alone */ }
  throw new Refused(refusal.message, refusal.hint);
}

// Says in a line of the page how something went.
function tell(line, kind, message, hint) {
  line.className = "outcome " + kind;
  line.textContent = message;
  if (hint) {
    const more = document.createElement("span");
    more.className = "hint";
    more.textContent = hint;
    line.append(more);
  }
}

function explain(error) {
  if (error instanceof Refused) {
    const first = error.message.charAt(0).toUpperCase() + error.message.slice(1);
    return [first + ".", error.hint];
  }
  switch (error?.name) {
    case "NotAllowedError":
      return ["Nothing was signed: the browser's question was closed, or took too long."];
    case "InvalidStateError":
      return ["This device has such a passkey already."];
    case "TypeError":
      return ["The page does not answer.", "Is `secondkey mcp` or `secondkey page` still running?"];
    default:
      return ["Nothing was signed: " + error];
  }
}

// Runs a ceremony with the form's buttons off, and says what went wrong.
async function carefully(form, line, ceremony) {
  const buttons = form.querySelectorAll("button");
  const off = (is) => buttons.forEach((button) => (button.disabled = is));
  busy = true;
  off(true);
  try {
    await ceremony();
  } catch (error) {
    tell(line, "bad", ...explain(error));
    off(false);
    busy = false;
  }
}

function assertion(credential) {
  const { authenticatorData, clientDataJSON, signature } = credential.response;
  return {
    authenticator_data: text(authenticatorData),
    client_data: text(clientDataJSON),
    signature: text(signature),
  };
}

function ask(wanted, credentials) {
  return navigator.credentials.get({
    publicKey: {
      challenge: bytes(wanted.challenge),
      rpId: wanted.rp_id,
      allowCredentials: credentials.map((id) => ({ type: "public-key", id: bytes(id) })),
      userVerification: wanted.user_verification ?? "required",
    },
  });
}

let busy = false;

const vote = document.getElementById("vote");
const review = document.getElementById("review-form");

// Has a form's decision written down at one path, signed, and counted at another.
function signs(form, outcome, [write, count], otherwise, said) {
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    const line = document.getElementById(outcome);
    const decision = event.submitter?.value ?? otherwise;
    const { request, document: digest } = form.dataset;
    carefully(form, line, async () => {
      tell(line, "", "Your passkey is asked…");
      const wanted = await post(`/requests/${request}/${write}`, {
        decision,
        comment: form.elements.comment.value,
        signer: form.elements.signer.value,
        document: digest,
      });
      const credential = await ask(wanted, wanted.credentials);
      const counted = await post(`/requests/${request}/${count}`, {
        verdict: wanted.verdict,
        credential: text(credential.rawId),
        ...assertion(credential),
      });
      tell(line, "good", said[decision] ?? "Signed.", counted.standing);
      setTimeout(() => location.reload(), 900);
    });
  });
}

signs(vote, "outcome", ["verdict", "vote"], "reject", { reject: "Rejected." });
signs(review, "review-outcome", ["review", "reviewed"], "objected", {});

const enrol = document.getElementById("enrol-form");
enrol?.addEventListener("submit", (event) => {
  event.preventDefault();
  const line = document.getElementById("enrol-outcome");
  const label = enrol.elements.label.value;
  const name = enrol.elements.name.value;
  carefully(enrol, line, async () => {
    tell(line, "", "Your browser makes a key…");
    const wish = await post("/enrol/begin", { name, label });
    const made = await navigator.credentials.create({
      publicKey: {
        challenge: bytes(wish.challenge),
        rp: { id: wish.rp_id, name: "SecondKey" },
        user: { id: bytes(wish.user_id), name: wish.name, displayName: wish.label || wish.name },
        pubKeyCredParams: [{ type: "public-key", alg: -7 }],
        authenticatorSelection: { residentKey: "discouraged", userVerification: "required" },
        attestation: "none",
      },
    });
    const proposed = await post("/enrol/registered", {
      ticket: wish.ticket,
      name,
      label,
      authenticator_data: text(made.response.getAuthenticatorData()),
      client_data: text(made.response.clientDataJSON),
    });
    tell(line, "", "Once more, to prove that you hold it…");
    const credential = await ask(proposed, [proposed.credential]);
    const kept = await post("/enrol/prove", {
      proposal: proposed.proposal,
      ...assertion(credential),
    });
    enrol.hidden = true;
    document.getElementById("proposal-code").textContent = kept.code;
    document.getElementById("proposal-command").textContent = kept.command;
    const file = document.getElementById("proposal-file");
    file.href = URL.createObjectURL(new Blob([kept.file], { type: "application/json" }));
    const box = document.getElementById("proposal");
    box.hidden = false;
    box.tabIndex = -1;
    box.focus();
  });
});

// Times in the reader's own zone; the original stays as the title.
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.getTime())) {
    time.title = time.textContent;
    time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  }
}

// Something has changed: the page is loaded anew, but never under the hands of somebody who writes.
const { pulse, stamp } = document.body.dataset;
function writing() {
  const comment = (vote ?? review)?.elements.comment;
  return busy || Boolean(comment?.value) || (comment && document.activeElement === comment);
}
if (pulse) {
  setInterval(async () => {
    if (document.hidden || writing()) return;
    try {
      const answer = await fetch(pulse);
      if (answer.ok && (await answer.json()).stamp !== stamp && !writing()) location.reload();
    } catch { /* it is tried again */ }
  }, 2500);
}
