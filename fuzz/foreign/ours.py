"""Functions that the inventory finds and that need no entry: each with the reason."""

from types import MappingProxyType

_OUR_WORDS = "what it is given are words or bytes of our own, and as many as we write"
_OF_SETTINGS = "what it is given stands in the snapshot or the settings, where every text has a bound of a few thousand"
_IN_PARTS = "it calls others, which have entries, and does nothing with a text itself"
_IDENTITY = "a digest of texts that are bounded where they come in"
_OPERATOR = "an operator types it, at a terminal of their own"
_BROKER = "frames of the operator's own broker; what producers put into them is read by `read_properties`"
_DIGEST = "a digest of a message, whose size the broker bounds"
_CHILD = "it runs in a process of its own, whose time is limited"

NOT_FOREIGN = MappingProxyType(
    {
        "adapters.broker.confirms:Confirms.take": _BROKER,
        "adapters.broker.deliveries:Deliveries.take": _BROKER,
        "adapters.broker.frames:content_header": _BROKER,
        "adapters.broker.tap:TappedProtocol.data_received": _BROKER,
        "adapters.broker.delivery:counting_headers": _BROKER,
        "adapters.broker.frames:fits_short_string": _OUR_WORDS,
        "adapters.snapshot.audit:audit_document": _OPERATOR,
        "delivery.signatures:Signatures.trusted": _IN_PARTS,
        "domain.service_url:parse_service_url": _OPERATOR,
        "adapters.broker.frames:short_string": _OUR_WORDS,
        "adapters.broker.frames:publish_frame": _OUR_WORDS,
        "adapters.broker.properties:write_properties": _OUR_WORDS,
        "adapters.dkim:DkimSignatures.verify": "it hands the letter to a process of its own",
        "adapters.dkim_verifying:verify": _CHILD,
        "adapters.egress:Resolver.addresses": "a port; what it takes went through `parse_host`",
        "adapters.egress:SystemResolver.addresses": "what it takes went through `parse_host`",
        "adapters.egress:EgressGuard.vetted": _IN_PARTS,
        "adapters.egress:GuardedDialer.dial": _IN_PARTS,
        "adapters.encrypted_only:EncryptedSentFolder.find": _IN_PARTS,
        "adapters.imap.appending:place_by_search": _IN_PARTS,
        "adapters.imap.looking:look": _IN_PARTS,
        "adapters.imap.session:ImapSession.append": _OUR_WORDS,
        "adapters.imap.troubles:xoauth2_response": _OF_SETTINGS,
        "adapters.imap.visit:ImapCheckVisit.received": _IN_PARTS,
        "adapters.rotation:RotationKeeper.keep": "a token that `parse_token_response` let through",
        "adapters.secrets:generate_key": _OPERATOR,
        "adapters.secrets:seal": _OPERATOR,
        "adapters.smtp.envelope:Envelope.rcpt_command": "an address that `parse_address` let through",
        "adapters.smtp.protocol:PairedProtocol.write": _OUR_WORDS,
        "adapters.smtp.protocol:PairedProtocol.pipeline": _OUR_WORDS,
        "adapters.snapshot.compile:header_of_members": _CHILD,
        "adapters.snapshot.compiled:CompiledWriter.finish": _CHILD,
        "adapters.snapshot.directory:CompiledDirectory.account": "looks an id up; what is read was compiled by us",
        "adapters.snapshot.directory:CompiledDirectory.is_left_out": "looks an id up",
        "adapters.snapshot.state:StateDirectory.find": "a digest, and file names of our own",
        "delivery.copies:Copies.handle": _IN_PARTS,
        "delivery.mailbox_rules:enter": _OUR_WORDS,
        "delivery.mailbox_rules:rest": _OUR_WORDS,
        "delivery.pipeline:Pipeline.handle": _IN_PARTS,
        "delivery.requeueing:later": "as `dead`, which has an entry",
        "delivery.requeueing:until_turn": "as `dead`, which has an entry",
        "delivery.requeueing:admitted": "as `dead`, which has an entry",
        "delivery.requeueing:put_back": "as `dead`, which has an entry",
        "delivery.requeueing:part": "as `dead`, which has an entry",
        "delivery.sent_habits:sent_place": _OF_SETTINGS,
        "delivery.sent_message:sent_message": _IN_PARTS,
        "domain.egress:parse_allowlist": _OPERATOR,
        "domain.envelope:parse_result": "results that the worker itself published",
        "domain.identity:event_key": _IDENTITY,
        "domain.identity:letter_token": _IDENTITY,
        "domain.identity:check_letter_token": _IDENTITY,
        "domain.identity:copy_key": _IDENTITY,
        "domain.identity:lane_token": _IDENTITY,
        "domain.identity:result_id": _IDENTITY,
        "domain.rate_windows:counts_of": "what the worker itself wrote into the ledger",
        "domain.topology:Topology.delay_s": _OUR_WORDS,
        "operations.dead_letters.file:to_line": "encodes a message whole, whose size the broker bounds",
        "operations.dead_letters.digest:contents_of": _DIGEST,
        "operations.dead_letters.digest:digest_of": _DIGEST,
        "operations.dead_letters.selection:moment": _OPERATOR,
        "operations.mailbox_check.deliverability:Deliverability.run": _IN_PARTS,
        "operations.mailbox_check.handler:CheckHandler.handle": _IN_PARTS,
        "operations.mailbox_check.letter:compose_test_letter": _OF_SETTINGS,
        "operations.mailbox_check.sender_domains:spf_targets": _OUR_WORDS,
        "operations.mailbox_check.sender_domains:usual_selectors": _OUR_WORDS,
        "operations.schemas:main": _OPERATOR,
    }
)
