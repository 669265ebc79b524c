// A plugin of Haraka's: takes letters for everybody but `unknown…`, and writes each into a directory.
"use strict";
const { writeFileSync, renameSync } = require("node:fs");
const { join } = require("node:path");

let count = 0;

exports.hook_rcpt = (next, connection, params) =>
  params[0].user.startsWith("unknown") ? next(DENY, "5.1.1 No such user") : next(OK);

exports.hook_queue = (next, connection) => {
  const transaction = connection.transaction;
  transaction.message_stream.get_data((content) => {
    const name = join(process.env.SINK_DIRECTORY, `${String(++count).padStart(4, "0")}.json`);
    const letter = {
      sender: transaction.mail_from.address,
      recipients: transaction.rcpt_to.map((each) => each.address),
      base64: content.toString("base64"),
    };
    writeFileSync(`${name}.new`, JSON.stringify(letter));
    renameSync(`${name}.new`, name);
    next(OK, "accepted");
  });
};
exports.hook_queue_outbound = exports.hook_queue;
