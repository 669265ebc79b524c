// What a team with Node would write: amqplib, and nodemailer with its pool. It acknowledges after the letter was
// accepted and its result confirmed; it has no ledger, no retries over hours, and no memory of what it sent.
import amqp from "amqplib";
import nodemailer from "nodemailer";

const { BROKER_URL, QUEUE, RESULTS, SMTP_PORT, CONNECTIONS, PREFETCH } = process.env;

const transport = nodemailer.createTransport({
  pool: true,
  host: "127.0.0.1",
  port: Number(SMTP_PORT),
  ignoreTLS: true,
  maxConnections: Number(CONNECTIONS),
  maxMessages: Infinity,
});
const connection = await amqp.connect(BROKER_URL);
const channel = await connection.createConfirmChannel();

function publish(result) {
  const body = Buffer.from(JSON.stringify(result));
  const options = { persistent: true, contentType: "application/json", messageId: `sent/${result.event_id}` };
  return new Promise((resolve, reject) => {
    channel.publish(RESULTS, "mail.sent", body, options, (error) => (error ? reject(error) : resolve()));
  });
}

function plain(html) {
  return html.replaceAll("</p>", "\n\n").replaceAll(/<[^>]*>/g, "");
}

async function send(message) {
  const event = JSON.parse(message.content);
  const { task, comment, recipients } = event.data;
  const info = await transport.sendMail({
    from: { name: "Иван Петров", address: "ivan@bench.product.example" },
    to: recipients.map(({ name, address }) => ({ name, address })),
    subject: `Re: ${task.title}`,
    html: comment.html,
    text: plain(comment.html),
    messageId: `<${event.id}@bench.product.example>`,
  });
  await publish({ event_id: event.id, task_id: task.id, message_id: info.messageId, response: info.response });
  channel.ack(message);
}

process.on("SIGTERM", () => process.exit(0));
await channel.prefetch(Number(PREFETCH));
await channel.consume(QUEUE, send);
console.log("ready");
