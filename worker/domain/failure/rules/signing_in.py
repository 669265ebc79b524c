"""Rules about our identity: the name in EHLO, and the sign-in."""

from worker.domain.failure.judgements import DAY, HOUR, MINUTE, Remedy, fail, pause, retry, suspend
from worker.domain.failure.rules.rule import AUTH, LETTER, MICROSOFT, RECIPIENT, rule
from worker.domain.vocabulary import Phase, Reason, Scope

_NAME_REFUSED = (
    r"\b(?:helo|ehlo)\b(?:/(?:helo|ehlo))?.{0,40}(?:reject|refus|invalid|not (?:allowed|valid|accepted|acceptable)"
    r"|does ?n[o']t|do not|must|should not|syntax|unknown|bogus|forged)"
    r"|(?:invalid|bad|bogus|forged|malformed|reject\w*|unacceptable|unknown) .{0,20}\b(?:helo|ehlo)\b"
    r"|need fully[- ]qualified host ?name|\bMI:NHD\b"
)

OUR_NAME = (
    # The operator sets a worker's name in EHLO; it fails no letter and suspends no mailbox.
    rule(
        retry(Reason.INTERNAL_ERROR, Scope.PLATFORM, Remedy.EHLO_NAME),
        4,
        5,
        phases=(Phase.GREETING, *AUTH, *LETTER),
        text=_NAME_REFUSED,
        unless=r"\bspf\b|\bdmarc\b|\b(?:send|say|issue|expect\w*|without|no|requires?) .{0,12}\b(?:helo|ehlo)\b",
    ),
    rule(
        retry(Reason.INTERNAL_ERROR, Scope.PLATFORM, Remedy.EHLO_NAME),
        501,
        phases=(Phase.GREETING,),
    ),
)

SIGNING_IN = (
    rule(
        suspend(Reason.AUTH_FAILED), 535, enhanced=r"5\.7\.139", text=r"credentials were incorrect|invalid credentials"
    ),
    rule(suspend(Reason.MAILBOX_BLOCKED), 535, enhanced=r"5\.7\.139", text=r"account (?:is )?(?:temporarily )?locked"),
    rule(suspend(Reason.AUTH_BASIC_DISABLED), 535, enhanced=r"5\.7\.139"),
    rule(suspend(Reason.AUTH_BASIC_DISABLED), 550, enhanced=r"5\.7\.30", providers=MICROSOFT),
    rule(
        suspend(Reason.AUTH_BASIC_DISABLED),
        5,
        text=r"basic auth\w* is (?:disabled|not supported)|smtpclientauthentication is disabled",
    ),
    rule(
        suspend(Reason.AUTH_APP_PASSWORD_REQUIRED),
        phases=AUTH,
        text=r"app(?:lication)?[- ]specific password|app(?:lication)?[- ]?password|parol prilozheniya"
        r"|authori[sz]ation (?:code|password)|授权码|client[- ]specific password"
        r"|пароль прилож|anwendungs(?:spezifisches )?passwort",
    ),
    rule(
        suspend(Reason.AUTH_CONFIRMATION_REQUIRED),
        phases=AUTH,
        text=r"verify your account|web ?browser|web ?login ?required|confirm your (?:account|identity)|accept eula",
    ),
    rule(suspend(Reason.AUTH_CONFIRMATION_REQUIRED), 534, enhanced=r"5\.7\.14"),
    # Outlook.com asks for it when a letter arrives, with the code of a letter that is too large.
    rule(
        suspend(Reason.AUTH_CONFIRMATION_REQUIRED),
        5,
        phases=LETTER,
        text=r"to continue sending.{0,40}\bsign[- ]?in\b|unusual activity in your .{0,40}\baccount",
    ),
    rule(suspend(Reason.AUTH_APP_PASSWORD_REQUIRED), 534, enhanced=r"5\.7\.9", providers=("gmail",)),
    # Yandex answers a sign-in with 535 although its objection is to the letters, and so to the mailbox.
    rule(
        pause(Reason.MESSAGE_REJECTED_SPAM, DAY),
        535,
        phases=AUTH,
        text=r"message looks like spam|suspicion of spam|suspected spam",
    ),
    rule(pause(Reason.QUOTA_EXCEEDED, HOUR), phases=AUTH, text=r"credits exceeded"),
    rule(pause(Reason.TOO_MANY_CONNECTIONS, 15 * MINUTE), 421, 454, text=r"too many (?:concurrent )?(?:login|auth)"),
    # The server blocks our address after failed sign-ins, of this mailbox or another; such blocks expire.
    rule(
        pause(Reason.RATE_LIMITED, 15 * MINUTE),
        phases=(Phase.GREETING, *LETTER),
        text=r"too many (?:bad |failed |invalid |unsuccessful )(?:log|auth|sign|password)",
    ),
    rule(
        pause(Reason.RATE_LIMITED, 15 * MINUTE),
        phases=AUTH,
        text=r"too many (?:bad |failed |invalid |unsuccessful )?(?:log|auth|failed|attempts|times|sign|password)"
        r"|authenticate too many|auth\w* (?:error )?limit exceed",
    ),
    # No password is refused here, so checking it would lead nowhere.
    rule(suspend(Reason.AUTH_FAILED, Remedy.MECHANISM), 502, 504, phases=AUTH, enhanced=r"5\.(?:5\.[124]|7\.4)"),
    rule(
        suspend(Reason.AUTH_FAILED, Remedy.MECHANISM),
        500,
        501,
        502,
        504,
        phases=AUTH,
        text=r"mechanism|auth\w* (?:type|method)|not (?:implemented|supported|recogni[sz]ed)|unrecogni[sz]ed"
        r"|invalid input",
    ),
)

NOT_SIGNED_IN = (
    # A group or person that accepts letters from some senders only: our sign-in is not what is missing.
    rule(
        fail(Reason.RECIPIENT_REFUSED, Scope.RECIPIENT),
        5,
        phases=RECIPIENT,
        enhanced=r"5\.7\.(?:12|124|129|13[3-6])",
    ),
    rule(
        fail(Reason.RECIPIENT_REFUSED, Scope.RECIPIENT),
        5,
        phases=RECIPIENT,
        text=r"resolver\.rst\.(?!sendas)|delivery restriction|on the recipient'?s list|allowed[- ]?senders? list"
        r"|not (?:authori[sz]ed|allowed|permitted) to (?:send|post|write|submit|deliver|mail)(?: \w{1,15}+){0,3} to\b"
        r"(?! (?:send|our|this server|use|relay))|members[- ]only|closed (?:mailing )?list|not a (?:list )?member",
    ),
    # The server refuses passwords in plain text, so no sign-in took place.
    rule(suspend(Reason.TLS_FAILED), 530, 538, text=r"\bstarttls\b|encryption required|\btls\b.{0,20}\bfirst\b"),
    rule(
        suspend(Reason.AUTH_FAILED),
        5,
        phases=LETTER,
        text=r"auth\w* (?:is )?required|not (?:logged in|authenticated)|authenticate first"
        r"|unauthenticated senders? not allowed|turn on smtp auth|mail relay denied.{0,30}invalid credentials",
        unless=r"when sending to|\b(?:group|distribution list)\b",
    ),
    rule(suspend(Reason.AUTH_FAILED), 530, phases=LETTER),
)
