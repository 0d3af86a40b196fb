// Calls the Management API with Auth0's SDK, and prints what its caller sees: node call_auth0.mjs USER [wait].

import { ManagementError } from "auth0";
import { management } from "./management.mjs";

const { users } = management;
const [user, isWaiting] = process.argv.slice(2);

/** What the SDK's error says. */
async function refusal(call) {
  try {
    await call;
  } catch (error) {
    return { isOfApi: error instanceof ManagementError, status: error.statusCode, body: error.body };
  }
  throw new Error("there was no refusal");
}

const got = await users.get(user);
if (isWaiting) {
  console.log(JSON.stringify({ got: got.user_id }));
} else {
  const changed = await users.update(user, { user_metadata: { theme: "dark" } });
  const page = await users.list({ per_page: 2 });
  console.log(JSON.stringify({
    got: got.user_id,
    theme: changed.user_metadata.theme,
    listed: page.data.length,
    unknown: await refusal(users.get("auth0|nobody")),
    forbidden: await refusal(users.delete(user)),
    dots: await refusal(users.get("..")),
  }));
}
