"""The closed lists of the contract: every value another team may meet, and no other."""

from enum import StrEnum


class EventType(StrEnum):
    """Types of the events that the worker consumes."""

    COMMENT_CREATED = "comment.created"
    TASK_CREATED = "task.created"
    MAILBOX_CHECK_REQUESTED = "mailbox.check.requested"
    CONFIGURATION_CHANGED = "configuration.changed"


class ResultType(StrEnum):
    """Types of the events that the worker publishes; also their routing keys."""

    MAIL_SENT = "mail.sent"
    MAIL_DEFERRED = "mail.deferred"
    MAIL_FAILED = "mail.failed"
    MAIL_UNCERTAIN = "mail.uncertain"
    SENT_COPY_SAVED = "sent_copy.saved"
    SENT_COPY_SKIPPED = "sent_copy.skipped"
    SENT_COPY_FAILED = "sent_copy.failed"
    SENT_COPY_DEFERRED = "sent_copy.deferred"
    MAILBOX_SUSPENDED = "mailbox.suspended"
    MAILBOX_RESUMED = "mailbox.resumed"
    MAILBOX_CHECKED = "mailbox.checked"
    MAILBOX_TOKEN_ROTATED = "mailbox.token_rotated"  # noqa: S105 - the name of a type, not a token
    DEAD_LETTER_REPLAYED = "dead_letter.replayed"
    DEAD_LETTER_DISCARDED = "dead_letter.discarded"


class Plan(StrEnum):
    """What an account pays for."""

    FREE = "free"
    PAID = "paid"
    PREMIUM = "premium"


class Role(StrEnum):
    """Where a recipient stands in a common letter."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"


class Tier(StrEnum):
    """How a sender was found, in descending order of precedence."""

    CHOSEN = "chosen"
    EMPLOYEE_PROJECT = "employee_project"
    EMPLOYEE = "employee"
    COMPANY_PROJECT = "company_project"
    COMPANY = "company"
    INTERNAL = "internal"


class Verdict(StrEnum):
    """Whether an address that was looked at is the sender."""

    SELECTED = "selected"
    REJECTED = "rejected"


class Why(StrEnum):
    """The ground of a verdict."""

    USABLE = "usable"
    NOT_ENTITLED = "not_entitled"
    INACTIVE = "inactive"
    NO_ACCESS = "no_access"
    OTHER_PROJECT = "other_project"
    CHOICE_IGNORED_NO_TEMPLATE_FIELD = "choice_ignored_no_template_field"
    UNKNOWN_MAILBOX = "unknown_mailbox"
    LOWER_TIER = "lower_tier"


class Security(StrEnum):
    """How a connection to a mail server is protected."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


class AuthMethod(StrEnum):
    """How the worker signs in to a mail server."""

    PASSWORD = "password"  # noqa: S105 - the name of a method, not a password
    XOAUTH2 = "xoauth2"
    NONE = "none"


class Mechanism(StrEnum):
    """How a password is sent (SASL: RFC 4616, draft-murchison-sasl-login, RFC 2195)."""

    PLAIN = "plain"
    LOGIN = "login"
    CRAM_MD5 = "cram-md5"


class CopyMode(StrEnum):
    """When a copy is saved to Sent: where the provider does not do it itself, always, or never."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class CopyOutcome(StrEnum):
    """What became of the copy in Sent."""

    SAVED = "saved"
    ALREADY_THERE = "already_there"
    PROVIDER_SAVES = "provider_saves"
    TURNED_OFF = "turned_off"
    NO_IMAP = "no_imap"
    NO_FOLDER = "no_folder"
    FAILED = "failed"


class Outcome(StrEnum):
    """What became of a letter for one recipient."""

    SENT = "sent"
    DEFERRED = "deferred"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


class UncertainPolicy(StrEnum):
    """What follows when a letter was handed over and no answer came."""

    CHECK = "check"
    RESEND = "resend"
    HOLD = "hold"


class SignInUse(StrEnum):
    """What a mailbox's sign-in is used for."""

    SMTP = "smtp"
    IMAP = "imap"


class ResumedBy(StrEnum):
    """What made letters leave a suspended mailbox again."""

    SETTINGS_CHANGED = "settings_changed"
    OPERATOR = "operator"


class Phase(StrEnum):
    """Where in an SMTP session something happened (RFC 5321, section 3)."""

    CONNECT = "connect"
    GREETING = "greeting"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    QUIT = "quit"


class Scope(StrEnum):
    """Whom a failure concerns."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    MAILBOX = "mailbox"
    PLATFORM = "platform"


class Action(StrEnum):
    """What follows a failure."""

    RETRY = "retry"
    PAUSE = "pause"
    SUSPEND = "suspend"
    FAIL = "fail"
    UNCERTAIN = "uncertain"


class Reason(StrEnum):
    """Why something did not succeed; each has a hint for people in `hints`."""

    RECIPIENT_UNKNOWN = "recipient_unknown"
    RECIPIENT_MAILBOX_FULL = "recipient_mailbox_full"
    RECIPIENT_REFUSED = "recipient_refused"
    MESSAGE_TOO_LARGE = "message_too_large"
    MESSAGE_REJECTED = "message_rejected"
    MESSAGE_REJECTED_SPAM = "message_rejected_spam"
    SENDER_DOMAIN_UNAUTHENTICATED = "sender_domain_unauthenticated"
    SENDER_NOT_OWNED = "sender_not_owned"
    AUTH_FAILED = "auth_failed"
    AUTH_APP_PASSWORD_REQUIRED = "auth_app_password_required"  # noqa: S105 - a reason, not a password
    AUTH_BASIC_DISABLED = "auth_basic_disabled"
    AUTH_CONFIRMATION_REQUIRED = "auth_confirmation_required"
    AUTH_TOKEN_REVOKED = "auth_token_revoked"  # noqa: S105 - a reason, not a token
    QUOTA_EXCEEDED = "quota_exceeded"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    MAILBOX_BLOCKED = "mailbox_blocked"
    MAILBOX_FULL = "mailbox_full"
    GREYLISTED = "greylisted"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"
    DNS_FAILED = "dns_failed"
    CONNECT_FAILED = "connect_failed"
    RECIPIENT_LIMIT_REACHED = "recipient_limit_reached"
    SENT_FOLDER_MISSING = "sent_folder_missing"
    SENT_FOLDER_DENIED = "sent_folder_denied"
    EGRESS_DENIED = "egress_denied"
    TLS_FAILED = "tls_failed"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    OUTCOME_UNKNOWN = "outcome_unknown"
    EXPIRED = "expired"
    SENDER_UNAVAILABLE = "sender_unavailable"
    SENDER_NOT_PERMITTED = "sender_not_permitted"
    FILE_UNAVAILABLE = "file_unavailable"
    INVALID_EVENT = "invalid_event"
    INTERNAL_ERROR = "internal_error"
