// An OpenID provider for tests: whoever gives a name is that person, with groups after a plus sign (anna+support).
// Arguments: port, the client's id, its secret or an empty text, its redirect address.
import Provider from "oidc-provider";

const [port, clientId, secret, redirect] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: clientId,
      client_secret: secret || undefined,
      token_endpoint_auth_method: secret ? "client_secret_basic" : "none",
      application_type: "native", // http on a loopback address
      redirect_uris: [redirect],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  pkce: { required: () => true },
  conformIdTokenClaims: false,
  claims: { openid: ["sub"], email: ["email", "email_verified", "groups"] },
  async findAccount(_context, id) {
    const [name, ...groups] = id.split("+");
    return {
      accountId: id,
      claims: async () => ({ sub: id, email: name, email_verified: !name.startsWith("unverified"), groups }),
    };
  },
  cookies: { keys: ["only for tests"] },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
