"""Calls to a webhook of ours: signed, fresh, and read; nothing else passes (planasonix.md §5)."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

from plait.http.errors import AuthenticationFailed, ConfigurationError, InvalidInput
from plait.vendors.planasonix.models import State
from plait.vendors.planasonix.webhooks import CALL_LIMIT, Signing, read_webhook

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECRET = "whsec_" + "not_to_be_seen"
BODY = json.dumps(
    {
        "id": "evt_1",
        "type": "job.completed",
        "timestamp": "2026-11-27T12:00:00Z",
        "job_id": "job_1",
        "data": {"status": "completed", "summary": {"total_rows_synced": 12, "duration_seconds": 3}},
    }
).encode()


def _headers(body=BODY, *, at=NOW, signer=SECRET, covered=b"", prefix="sha256="):
    signature = hmac.new(signer.encode(), covered + body, hashlib.sha256).hexdigest()
    return {
        "x-planasonix-SIGNATURE": f"{prefix}{signature}",
        "X-Planasonix-Timestamp": str(int(at.timestamp())),
    }


@pytest.mark.parametrize("prefix", ["sha256=", "", "v1="])
def test_a_signed_call_is_read(prefix):
    """The event with what it says of the job, whatever stands before the signature."""
    event = read_webhook(BODY, _headers(prefix=prefix), Signing(SECRET), now=NOW)
    assert (event.id, event.type, event.job_id) == ("evt_1", "job.completed", "job_1")
    assert event.data.state is State.SUCCEEDED
    assert event.data.summary.total_rows_synced == 12


def test_a_signature_may_cover_the_time():
    """Where a deployment signs `timestamp.body`, a changed time is noticed."""
    signing = Signing(SECRET, signs_timestamp=True)
    covered = f"{int(NOW.timestamp())}.".encode()
    assert read_webhook(BODY, _headers(covered=covered), signing, now=NOW).id == "evt_1"
    moved = {**_headers(covered=covered), "X-Planasonix-Timestamp": str(int(NOW.timestamp()) + 1)}
    with pytest.raises(AuthenticationFailed, match="signature"):
        read_webhook(BODY, moved, signing, now=NOW)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "signature"),
        (_headers(signer="other"), "signature"),
        (_headers(b"another body"), "signature"),
        ({**_headers(), "x-planasonix-SIGNATURE": "sha256=é"}, "signature"),
        (_headers(at=NOW - timedelta(minutes=6)), "old"),
        (_headers(at=NOW + timedelta(minutes=6)), "old"),
        ({**_headers(), "X-Planasonix-Timestamp": "yesterday"}, "time"),
        ({**_headers(), "X-Planasonix-Timestamp": "9" * 400}, "time"),
    ],
    ids=range(8),
)
def test_anything_else_is_refused(headers, why):
    """Unsigned, signed by others, for another body, or sent again later; the secret is not told."""
    with pytest.raises(AuthenticationFailed, match=why) as caught:
        read_webhook(BODY, headers, Signing(SECRET), now=NOW)
    assert SECRET not in f"{caught.value!r} {Signing(SECRET)!r}"


@pytest.mark.parametrize("stamp", ["2026-11-27T12:00:03Z", "2026-11-27T12:00:03", "1795780803000"])
def test_a_time_in_other_forms(stamp):
    """ISO with and without a zone, and milliseconds."""
    headers = {**_headers(), "X-Planasonix-Timestamp": stamp}
    assert read_webhook(BODY, headers, Signing(SECRET), now=NOW).id == "evt_1"


@pytest.mark.parametrize(
    "body", [b"not json", b"[]", b'{"id": "evt_1"}', b"x" * (CALL_LIMIT + 1)], ids=range(4)
)
def test_a_signed_call_that_is_no_event_is_an_error(body):
    """Signed nonsense is said to be nonsense."""
    with pytest.raises(InvalidInput):
        read_webhook(body, _headers(body), Signing(SECRET), now=NOW)


def test_an_unknown_event_is_read_too():
    """Other categories are announced by the vendor: their word is kept, and an unknown state shown."""
    body = b'{"id": "evt_2", "type": "lease.acquired", "run_id": "run_1", "data": {"status": "leased"}}'
    event = read_webhook(body, _headers(body), Signing(SECRET), now=NOW)
    assert (event.type, event.run_id, event.data.state) == ("lease.acquired", "run_1", State.UNKNOWN)


def test_a_webhook_without_a_secret_is_refused():
    """Anybody could call it."""
    with pytest.raises(ConfigurationError, match="secret"):
        Signing("")
