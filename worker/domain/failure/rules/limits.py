"""Rules about the mailbox's own sending limits, reported with 4xx or 5xx and in any phase.

`LIMITS` are certain; `SPEED` is what a single word suggests, to be checked after everything more specific.
"""

from worker.domain.failure.judgements import DAY, HOUR, MINUTE, pause, retry
from worker.domain.failure.rules.rule import ENTRANCE, RCPT, RECIPIENT, rule
from worker.domain.vocabulary import Phase, Reason, Scope

_MAIL = r"(?:e-?mails?|mails?|messages?|msgs?|letters?|rcpts?|recipients?|submissions?)"
_OUT = (
    r"(?:send(?:ing|er)?|sent|outgoing|outbound|relay\w*|submission|smtp|e-?mails?|mails?|messages?|msgs?|recipients?)"
)
_BOUND = r"(?:limits?|quotas?|allowance|allotment|threshold|contingent|\bcap)"
_REACHED = r"(?:exceed\w*|reach\w*|\bhit\b|\bover\b|used up|exhaust\w*|beyond|maximum)"
_OVER = (
    r"(?:exceed\w*|over ?-?limit|\blimit\w*|\bquotas?\b|\bmax(?:imum)?\b|allow\w*|\breached\b|\btoo (?:many|much)\b"
    r"|\bonly \d{1,7}\b|\bcap\b|\ballotment\b)"
)
_PER = r"(?:\b(?:per|an?|each|every|this|last|past|one|(?:in|for) the) |/ ?)"
_HOUR = rf"(?:\bhourly\b|{_PER}(?:1 ?)?hours?\b|(?:\bper|/) ?1? ?h\b|\b(?:1[ -]?)?hour limit|\b60[ -]min\w*)"
_DAY = (
    rf"(?:\bdaily\b|\btoday\b|\btomorrow\b|\b24[ -]?h(?:ours?)?\b|{_PER}(?:1 ?)?days?\b|(?:\bper"
    rf"|/) ?1? ?d\b|\bday limit)"
)
_MONTH = rf"(?:\bmonthly\b|{_PER}(?:1 ?)?month\b)"
_MINUTE = (
    rf"(?:{_PER}(?:\d{{1,3}} ?)?(?:minutes?|mins?|seconds?|secs?)\b|(?:\bper|/) ?\d{{0,3}} ?[ms]\b|\bper time unit\b)"
)

# Limits of one letter, of a recipient's mailbox, of a connection, and error counts: not how much may be sent.
_OTHER_LIMIT = (
    r"\bsizes?\b|too (?:large|big|long)|\bbytes?\b|\b[km]b\b|storage|\bdisk\b|\bspace\b|\bhops?\b|\bloops?\b"
    r"|per (?:message|e-?mail|mail|letter|transaction)\b|in (?:one|a single|this) (?:message|e-?mail|mail)\b|attachment"
    r"|mailbox(?: \w{1,12}+){0,2} (?:is )?(?:full|quota|over|limit)|\binbox\b|\bline\b|headers?\b"
    r"|(?:log|sign)-?ins?\b|\bpasswords?\b|connections?\b|\bsessions?\b|\bgr[ea]y|organization queue"
    r"|größe|groesse|postfach (?:ist )?voll|\btaille\b|pleine|dimensione|\bpiena\b|tamaño|rozmiar"
    r"|velikost|размер|大小|容量"
)
_THEIRS = (
    r"receiving (?:mail|messages|e-?mail) (?:at a rate|too)"
    r"|\brecipients?(?:'s)? (?:has|have|is|mailbox|account|over)\b.{0,60}(?:exceed|reach|over|limit)"
    r"|recipient.{0,100}exceeded.{0,40}rate|\brecipient (?:quota|mailbox)\b"
    r"|too (?:many|much) (?:messages|mails?|e-?mails?) (?:for|to) (?:this|the|that) (?:recipient|user|mailbox|address)"
    r"|empfängers? (?:hat|ist) .{0,30}(?:limit|quota|voll)|destinat\w{2,6}.{0,30}(?:quota|limite|pleine|piena)"
    r"|получател\w*.{0,30}квот"
)
_FOREIGN = (
    # German, Dutch
    r"\b(?:versand|sende|mail)-?(?:limit|kontingent|quota|volumen)\w*"
    r"|(?:limit|kontingent|quota|anzahl|limiet|quotum)\b.{0,60}(?:überschritten|ueberschritten|erreicht|ausgeschöpft"
    r"|overschreden|bereikt)"
    r"|\bzu viele (?:e-?mails?|mails|nachrichten|empfänger)|\bte veel (?:e-?mails?|berichten)"
    # French
    r"|\b(?:limite|quota|nombre|plafond)\b.{0,60}(?:dépass|depass|atteint)|\btrop de (?:messages|mails"
    r"|courriels|e-?mails)"
    r"|\b(?:limite|quota) d.envois?"
    # Italian, Spanish, Portuguese
    r"|\b(?:limite|l[ií]mite|quota|cuota|numero|número)\b.{0,60}(?:superat|raggiunt|superad|excedid|alcanzad|sobrepasad"
    r"|atingid|ultrapassad)"
    r"|(?:superat|raggiunt|superad|excedid|alcanzad|atingid|ultrapassad)\w{0,3} .{0,40}\b(?:limite"
    r"|l[ií]mite|quota|cuota)"
    r"|\btropp[ie] (?:messaggi|e-?mail|mail)|\bdemasiados (?:mensajes|correos)|\bmuit[ao]s (?:mensagens|e-?mails)"
    # Polish, Czech, Slovak
    r"|\blimit\w*.{0,60}(?:przekrocz|wyczerpan|osiągni|překroč|prekroč|vyčerpan)"
    r"|(?:przekrocz|wyczerpa|osiągni|překroč|prekroč|vyčerpá?n)\w*.{0,60}\b(?:limit|kvót|počet|liczb)"
    r"|\bzbyt (?:wiele|dużo) (?:wiadomo|e-?mail|mail)|\bpříliš mnoho (?:zpráv|e-?mail|mail)"
    # Russian, Ukrainian
    r"|(?:превы[шс]|перевищ|исчерпа|вичерпа|достигнут|досягнут|преодол)\w*.{0,60}(?:лимит|ліміт|квот|ограничен|обмежен)"
    r"|(?:лимит|ліміт|квот|ограничен|обмежен)\w*.{0,60}(?:превы[шс]|перевищ|исчерпа|вичерпа|достигнут|досягнут)"
    r"|слишком (?:много|часто)|занадто (?:багато|часто)"
    # Chinese, Japanese
    r"|发[信送件].{0,14}(?:频率|频繁|上限|限制|限额|超|过多|过快)|(?:频率|频繁|次数|数量|每[日天]|每小时).{0,12}(?:限制|超[过出]?|达到|上限)"
    r"|送信.{0,16}(?:制限|上限|超)|(?:上限|制限).{0,12}(?:超え|達し)"
)

_SESSION = (
    r"\b(?:messages?|mails?|e-?mails?|transactions?|deliver\w*|recipients?)\b.{0,40}"
    r"\b(?:per|in|on|for|over|within|during|this|one|single|each|a|the) ?(?:smtp |tcp )?(?:session|connection)\b"
    r"|\b(?:session|connection)\b.{0,25}\b(?:message|mail|e-?mail|transaction|delivery)s? (?:limit|count|maximum)"
)
SESSION_LIMIT = rule(
    retry(Reason.TEMPORARILY_UNAVAILABLE),
    4,
    5,
    text=_SESSION,
    unless=r"concurrent|simultaneous|\bspam\b",
)
"""A server that accepts only so many letters over one connection."""

LIMITS = (
    SESSION_LIMIT,
    # Theirs: the recipient gets more than their server accepts.
    rule(retry(Reason.RATE_LIMITED, Scope.RECIPIENT), 4, phases=RCPT, text=_THEIRS),
    # Recipients beyond a server's limit go into another transaction (RFC 5321 section 4.5.3.1.10).
    rule(
        retry(Reason.TEMPORARILY_UNAVAILABLE, Scope.RECIPIENT),
        phases=RCPT,
        enhanced=r"[45]\.5\.3",
        unless=rf"{_HOUR}|{_DAY}|{_MINUTE}",
    ),
    # Ours.
    rule(pause(Reason.TOO_MANY_CONNECTIONS, 2 * MINUTE), 432),
    rule(
        pause(Reason.TOO_MANY_CONNECTIONS, 2 * MINUTE),
        text=r"too many (?:open |concurrent |simultaneous |smtp ){0,3}(?:connection|session)s?"
        r"|concurrent.{0,20}connections?.{0,20}(?:limit|exceed)|\bconnections? limit|trop de connexions|\bMI:CEL\b",
    ),
    rule(
        pause(Reason.QUOTA_EXCEEDED, HOUR),
        text=rf"{_HOUR}.{{0,80}}{_OVER}|{_OVER}.{{0,80}}{_HOUR}|defers and failures",
        unless=rf"{_OTHER_LIMIT}|{_THEIRS}",
    ),
    rule(
        pause(Reason.QUOTA_EXCEEDED, DAY),
        text=rf"{_DAY}.{{0,80}}{_OVER}|{_OVER}.{{0,80}}{_DAY}",
        unless=rf"{_OTHER_LIMIT}|{_THEIRS}",
    ),
    rule(
        pause(Reason.QUOTA_EXCEEDED, DAY),
        text=rf"{_MONTH}.{{0,80}}{_OVER}|{_OVER}.{{0,80}}{_MONTH}",
        unless=rf"{_OTHER_LIMIT}|{_THEIRS}",
    ),
    rule(pause(Reason.QUOTA_EXCEEDED, DAY), 550, 454, enhanced=r"[45]\.4\.5", providers=("gmail",)),
    rule(
        pause(Reason.QUOTA_EXCEEDED, DAY), 550, enhanced=r"5\.7\.1", providers=("gmail",), text=r"^email quota exceeded"
    ),
    rule(pause(Reason.QUOTA_EXCEEDED, DAY), 550, enhanced=r"5\.1\.90|5\.7\.23[23]"),
    rule(
        pause(Reason.QUOTA_EXCEEDED, DAY),
        text=r"submission ?quota ?exceeded|\brefusequota\b|exceeded your messaging limits"
        r"|sending (?:quota|limit) .{0,20}exceeded|exceed\w* (?:its |your |the )?(?:message "
        r"|outgoing )?sending (?:quota|limit)"
        r"|recipients? ?(?:rate)? ?limit ?exceeded|\bMI:STC\b",
        unless=_THEIRS,
    ),
    rule(pause(Reason.RATE_LIMITED, 15 * MINUTE), text=r"\bMI:(?:SFQ|DMC|CCL)\b|\bRP:(?:DRC|CCL|TRC|RCL|CEL)\b"),
    rule(
        pause(Reason.QUOTA_EXCEEDED, HOUR),
        text=rf"\b{_OUT}\b(?: \w{{1,20}}+){{0,3}} {_BOUND}\b.{{0,40}}{_REACHED}"
        rf"|{_REACHED}(?: \w{{1,20}}+){{0,6}} {_OUT}(?: \w{{1,20}}+){{0,2}} {_BOUND}\b"
        rf"|\b{_BOUND} (?:on|of|for|to)\b.{{0,60}}{_MAIL}.{{0,40}}{_REACHED}"
        rf"|\b{_MAIL} (?:count|number|volume)(?: {_BOUND})? ?{_REACHED}"
        rf"|{_REACHED} .{{0,30}}\b(?:number|count) of (?:\w{{1,20}}+ ){{0,2}}{_MAIL}"
        rf"|{_BOUND} (?:has been |was |is )?{_REACHED}.{{0,20}}\bfor (?:this |your |the )?(?:sender|account"
        rf"|user|domain)"
        r"|(?:no|not enough|insufficient|out of|used up) .{0,20}\bcredits?\b|\bcredits? (?:exceed|exhaust|used up)",
        unless=rf"{_OTHER_LIMIT}|{_THEIRS}|\b(?:invalid|unknown|bad)\b|\brate\b",
    ),
    rule(pause(Reason.QUOTA_EXCEEDED, HOUR), text=_FOREIGN, unless=rf"{_OTHER_LIMIT}|{_THEIRS}"),
    # At RCPT a quota is usually the recipient's; a policy code (RFC 3463 section 3.8) marks it as ours.
    rule(
        pause(Reason.QUOTA_EXCEEDED, HOUR),
        phases=RCPT,
        enhanced=r"[45]\.7\.\d{1,3}",
        text=r"quota exceeded|over ?quota|exceeded .{0,20}quota",
        unless=rf"{_OTHER_LIMIT}|{_THEIRS}|\bmailbox\b",
    ),
    rule(
        pause(Reason.QUOTA_EXCEEDED, HOUR),
        phases=(Phase.AUTH, Phase.MAIL),
        text=r"quota exceeded|exceeded .{0,20}quota",
        unless=_OTHER_LIMIT,
    ),
    # GMX and web.de give no other indication of a limit of theirs.
    rule(pause(Reason.RATE_LIMITED, HOUR), 5, text=r"failure sending mail"),
    rule(
        pause(Reason.RATE_LIMITED, HOUR),
        5,
        text=r"\btoo (?:many|much) (?:outgoing |sent )?(?:messages|mails?|e-?mails|letters)\b"
        r"|\bfrequency limited|sen[dt]\w* .{0,20}too (?:fast|often|frequently|quickly)",
        unless=_THEIRS,
    ),
    rule(pause(Reason.RATE_LIMITED, 5 * MINUTE), 421, enhanced=r"4\.7\.\d+", providers=("gmail",)),
)

_TOO_FAST = (
    r"rate.?limit|rate overlimit|\btoo (?:fast|quickly|often|frequent\w*)\b|throttl|slow(?:er)?\b|send(?:ing)? rate"
    r"|(?:temporarily|permanently) deferred|\bfrequency\b"
    r"|\btoo (?:many|much) (?:messages|mails?|emails|letters|requests)\b|unusual rate"
    rf"|{_MINUTE}.{{0,80}}{_OVER}|{_OVER}.{{0,80}}{_MINUTE}"
)

SPEED = (
    rule(pause(Reason.RATE_LIMITED, 5 * MINUTE), 4, text=_TOO_FAST, unless=r"\bgr[ea]y"),
    rule(pause(Reason.RATE_LIMITED, 5 * MINUTE), 5, phases=(*ENTRANCE, Phase.AUTH, Phase.MAIL), text=_TOO_FAST),
    rule(
        pause(Reason.RATE_LIMITED, HOUR),
        5,
        phases=RECIPIENT,
        text=r"rate.?limit|rate overlimit|throttl|slow down|send(?:ing)? rate|\bfrequency limit"
        rf"|{_MINUTE}.{{0,80}}{_OVER}|{_OVER}.{{0,80}}{_MINUTE}",
        unless=rf"{_OTHER_LIMIT}|{_THEIRS}",
    ),
)
