"""Rules about the sender: the domain's records, the address's owner, and whether the mailbox may send at all."""

from worker.domain.failure.judgements import fail, suspend
from worker.domain.failure.rules.rule import AUTH, LETTER, MICROSOFT, SERVICES, rule
from worker.domain.vocabulary import Phase, Reason

_IP = (
    r"(?:\bip(?: address(?:es)?)?\b|\[?\b\d{1,3}(?:\.\d{1,3}){3}\b\]?"
    r"|\[?\b(?:[0-9a-f]{1,4}:){2,7}[0-9a-f:]{0,20}\]?|\bhost\b)"
)
_MAY_NOT = r"(?:not (?:allowed|authori[sz]ed|permitted|accepted|whitelisted)|(?:may|can|must)(?: ?not|n't))"
_MAILING = r"(?:e-?mails?|mails?|messages?|letters?)"
_THEIR_LIST = r"(?! (?:to|directly|via|through|from (?:your|this) (?:ip|host|network)))"

SENDER_CODES = (
    rule(suspend(Reason.SENDER_NOT_OWNED), 550, enhanced=r"5\.7\.60"),
    rule(suspend(Reason.SENDER_NOT_OWNED), 554, enhanced=r"5\.2\.252"),
    rule(suspend(Reason.MAILBOX_BLOCKED), 550, 554, enhanced=r"5\.1\.8", providers=(*MICROSOFT, "zoho")),
    rule(suspend(Reason.MAILBOX_BLOCKED), 550, enhanced=r"5\.7\.(?:50[1-4]|705|708|750)", providers=MICROSOFT),
    rule(
        fail(Reason.SENDER_DOMAIN_UNAUTHENTICATED),
        5,
        phases=LETTER,
        enhanced=r"5\.7\.(?:20|21|22|23|24|25|26|27|509|515)",
    ),
)

DOMAINS = (
    rule(
        fail(Reason.SENDER_DOMAIN_UNAUTHENTICATED),
        5,
        phases=LETTER,
        text=r"\b(?:spf|dkim|dmarc)\b|sender policy framework|unauthenticated (?:mail|email|sender)"
        r"|sender is unauthenticated"
        r"|unconfigured sending domain|domain (?:\S{1,253} )?is unverified|not from an authorized domain",
    ),
    # A network address that may not send: another letter may leave from another, and no owner can change it.
    rule(
        fail(Reason.MESSAGE_REJECTED),
        5,
        phases=LETTER,
        text=rf"{_IP}.{{0,60}}{_MAY_NOT}(?: to (?:send|connect|relay|deliver|submit)|\b.{{0,20}}(?:senders?|relay))",
        unless=r"not the owner|without (?:server )?auth",
    ),
)

SENDERS = (
    rule(
        suspend(Reason.SENDER_NOT_OWNED),
        5,
        text=r"not owned by|send ?as ?(?:denied|permission)|permissions? to send as|not one of your addresses"
        r"|sender address (?:must|should) (?:match|be (?:the |equal|same|identical|one of|your))"
        rf"|{_MAY_NOT} to (?:send|use|relay)(?: {_MAILING})? (?:as|from|on behalf)\b|{_MAY_NOT} to perform\b"
        rf"|{_MAY_NOT} to use (?:\w{{1,12}} ){{0,3}}(?:sender|from)\b"
        rf"|{_MAY_NOT} to send(?: {_MAILING})?\b{_THEIR_LIST}"
        r"|authenticat\w+ user.{0,40}not match|relay\w* (?:is )?disallowed|sender (?:identity|signature)"
        r"|user.{0,40}is not the owner|not local sender over smtp|sender mismatch|incorrect sender header"
        r"|must (?:equal|be same as|be the same as|match) (?:the )?auth|validate your sender"
        r"|(?:sender|from)(?: e-?mail)?(?: address)? (?:is |was )?(?:not (?:allowed|authori[sz]ed|permitted|yours)"
        r"|unauthori[sz]ed|disallowed)"
        r"|(?:unauthori[sz]ed|disallowed|not allowed) (?:sender|from)(?: address)?\b"
        r"|(?:header|mail|envelope) from\b.{0,40}(?:mismatch|differ|not match)"
        r"|absender(?:adresse)?.{0,40}nicht (?:erlaubt|zulässig|zugelassen|gestattet)"
        r"|mittente.{0,40}non (?:autorizzato|consentito)|exp[eé]diteur.{0,40}non autoris[eé]"
        r"|remitente.{0,40}no (?:autorizad|permitid)|адрес отправителя.{0,40}не (?:принадлежит|разреш)|发件人.{0,10}不",
        unless=rf"\brecipients?\b|{_IP}.{{0,40}}{_MAY_NOT}",
    ),
    rule(
        suspend(Reason.SENDER_NOT_OWNED),
        5,
        text=r"address (?:is )?not verified|not owned by",
        unless=r"\brecipient (?:e-?mail )?address (?:is )?not verified",
    ),
)

BLOCKED = (
    rule(
        suspend(Reason.MAILBOX_BLOCKED),
        5,
        phases=(*AUTH, Phase.MAIL),
        text=r"(?:account|mailbox|user|sender|domain)(?: address)? (?:is |has been |was )?(?:temporarily )?"
        r"(?:blocked|disabled|suspended|locked)",
    ),
    rule(
        suspend(Reason.MAILBOX_BLOCKED),
        5,
        text=r"unusual sending activity|outboundspamexception|sending (?:paused|suspended|blocked)|outgoing blocked"
        r"|account.{0,40}(?:pending approval|not yet activated)|sender account (?:is )?locked|accountdisabledexception"
        rf"|\b(?:outgoing|outbound|sending)(?: {_MAILING}| access| service)?\b.{{0,60}}"
        r"\b(?:suspended|disabled|locked|deactivated)\b|\bsmtp (?:access|service) .{0,40}\b(?:suspended"
        r"|disabled|locked)"
        rf"|\boutgoing {_MAILING} from\b.{{0,60}}\bblocked\b|your (?:account|mailbox) (?:is|has been"
        rf"|was) (?:temporarily )?"
        r"(?:blocked|disabled|suspended|locked)|\bsender (?:is |has been |was )(?:suspended|disabled|locked)"
        r"|(?:suspended|disabled|blocked) (?:from|for) sending|\b(?:black|block)[- ]?listed (?:user|sender|account):",
        unless=r"tried to reach|\brecipients?\b|trying to (?:reach|contact)",
    ),
    rule(
        suspend(Reason.MAILBOX_BLOCKED),
        5,
        phases=(Phase.MAIL, Phase.DATA),
        text=r"account.{0,40}is not active\b",
        unless=r"tried to reach|\brecipients?\b|trying to (?:reach|contact)",
    ),
    rule(
        suspend(Reason.MAILBOX_BLOCKED),
        5,
        phases=LETTER,
        providers=SERVICES,
        text=r"account (?:is |has been )?(?:suspended|disabled|blocked|locked)",
    ),
)
