// Nodemailer's smtp-server: `node smtp_server.mjs DIRECTORY CERTIFICATE KEY USER PASSWORD`. Listens on two free ports,
// the first with STARTTLS and the second with TLS from the start, prints both, and writes each letter into DIRECTORY.
import { readFileSync, writeFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { SMTPServer } from "smtp-server";

const [directory, certificate, key, user, password] = process.argv.slice(2);
let count = 0;

const refusal = (code, text) => Object.assign(new Error(text), { responseCode: code });

const options = {
  cert: readFileSync(certificate),
  key: readFileSync(key),
  authMethods: ["PLAIN", "LOGIN"],
  size: 1_000_000,
  disableReverseLookup: true,
  onAuth: (auth, session, done) =>
    auth.username === user && auth.password === password
      ? done(null, { user })
      : done(refusal(535, "5.7.8 Authentication credentials invalid")),
  onRcptTo: (address, session, done) =>
    address.address.startsWith("unknown") ? done(refusal(550, "5.1.1 No such user")) : done(),
  onData: (stream, session, done) => {
    const chunks = [];
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("end", () => {
      if (stream.sizeExceeded) return done(refusal(552, "5.3.4 Message too big"));
      const name = join(directory, `${String(++count).padStart(4, "0")}.json`);
      const { mailFrom, rcptTo } = session.envelope;
      const letter = { sender: mailFrom.address, recipients: rcptTo.map((each) => each.address) };
      writeFileSync(`${name}.new`, JSON.stringify({ ...letter, base64: Buffer.concat(chunks).toString("base64") }));
      renameSync(`${name}.new`, name);
      done(null, "2.0.0 accepted");
    });
  },
};

const listening = (secure) =>
  new Promise((resolve) => {
    const server = new SMTPServer({ ...options, secure });
    server.on("error", () => {}); // a client that goes away is no fault of the server's
    server.listen(0, "127.0.0.1", () => resolve(server.server.address().port));
  });

console.log(JSON.stringify([await listening(false), await listening(true)]));
