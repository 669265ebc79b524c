// Reads a letter from standard input as mailparser and as postal-mime do; prints what each found, as JSON.
import { simpleParser } from "mailparser";
import PostalMime from "postal-mime";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const raw = Buffer.concat(chunks);

const file = (name, type, content, contentId, isInline) => ({
  name: name ?? null,
  type,
  base64: Buffer.from(content).toString("base64"),
  content_id: contentId ? contentId.replace(/^<|>$/g, "") : null,
  is_inline: isInline,
});

// Its own option would put the pictures back into the HTML.
const parsed = await simpleParser(raw, { skipImageLinks: true, skipTextToHtml: true, skipHtmlToText: true });
const people = (field) => [field ?? []].flat().flatMap((part) => part.value ?? []);
const byMailparser = {
  subject: parsed.subject ?? "",
  from: people(parsed.from).map((person) => [person.name, person.address]),
  to: people(parsed.to).flatMap((person) => person.group ?? [person]).map((person) => [person.name, person.address]),
  message_id: parsed.messageId,
  html: parsed.html || "",
  text: parsed.text ?? "",
  files: parsed.attachments.map((part) =>
    file(part.filename, part.contentType, part.content, part.contentId, part.contentDisposition === "inline")),
};

const email = await PostalMime.parse(raw);
const byPostalMime = {
  subject: email.subject ?? "",
  from: [[email.from.name, email.from.address]],
  to: (email.to ?? []).flatMap((person) => person.group ?? [person]).map((person) => [person.name, person.address]),
  message_id: email.messageId,
  html: email.html ?? "",
  text: email.text ?? "",
  files: email.attachments.map((part) =>
    file(part.filename, part.mimeType, part.content, part.contentId, part.disposition === "inline")),
};

console.log(JSON.stringify({ mailparser: byMailparser, "postal-mime": byPostalMime }));
