// Calls the simulated Gmail with Google's client, and prints what its caller sees.

import { gmailOf } from "./gmail.mjs";

const { users } = gmailOf(process.argv[2]);

/** The daemon's own refusal. The SDK leaves unread what is not `application/json`. */
async function problem({ data, headers }) {
  const type = headers["content-type"] ?? headers.get("content-type");
  return type === "application/problem+json" ? new Response(data).json() : undefined;
}

/** What Google's error says. */
async function refusal(call) {
  try {
    await call;
  } catch (error) {
    const { status, response } = error;
    return {
      name: error.constructor.name,
      status,
      problem: await problem(response),
      headers: Object.fromEntries(response.headers),
    };
  }
  throw new Error("there was no refusal");
}

const { data: message } = await users.messages.get({ userId: "me", id: "17" });

const listed = [];
let pageToken;
do {
  const { data } = await users.messages.list({ userId: "me", pageToken });
  listed.push(...data.messages.map(({ id }) => id));
  pageToken = data.nextPageToken;
} while (pageToken);

const raw = Buffer.from("Subject: Hello\r\n\r\nHello").toString("base64url");
const { data: sent } = await users.messages.send({ userId: "me", requestBody: { raw } });
const refused = await refusal(users.labels.list({ userId: "me" }));
const forbidden = await refusal(users.messages.trash({ userId: "me", id: "17" }));
console.log(JSON.stringify({ message, listed, sent, refused, forbidden }));
