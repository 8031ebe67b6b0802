"""The reviewer page in a real browser: every kind of review answered by clicks, nothing of an agent's run."""

import asyncio
import re
from datetime import timedelta

import httpx
import pytest
from placet_world import CHANNEL, ESCALATION, PNG, QUICK, World, ask, picture
from playwright.async_api import expect
from reviewer_browser import browsing

from plait.sandbox.process import start_sandbox
from plait.vendors.placet.answers import (
    ApprovalAnswer,
    Dismissed,
    FreeformAnswer,
    SelectionAnswer,
    TextAnswer,
    read_answer,
)
from plait.vendors.placet.models import MessageContent
from plait.vendors.placet.reviews import (
    APPROVE,
    REJECT,
    Approval,
    ApprovalOption,
    FieldOption,
    Form,
    FormField,
    Freeform,
    Selection,
    SelectionItem,
    TextInput,
)

NASTY = '<img src=x onerror="window.hit=1"><script>window.hit=1</script> [x](javascript:window.hit=1) "\'&'


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """One sandbox process for this module."""
    with start_sandbox(state=tmp_path_factory.mktemp("placet") / "state.db", placet=QUICK) as running:
        yield running


@pytest.fixture
async def world(process):
    """The stand-in."""
    made = World(process.url)
    yield made
    await made.aclose()


@pytest.fixture
async def client(world):
    """The agent's client."""
    async with world.client() as made:
        yield made


@pytest.fixture
async def page(world):
    """The page, open; it complained of nothing in the end."""
    async with browsing(viewport={"width": 1280, "height": 900}) as (opened, complaints):
        await opened.goto(f"{world.base_url}/")
        yield opened
        # The browser itself notes an answer that came second.
        assert [words for words in complaints if "403 (Forbidden)" not in words] == []


async def opened(page, message):
    """Choose a review in the list."""
    await page.locator(f'#list a[href="#review/{message.id}"]').click()
    await expect(page.locator("form.answer")).to_be_visible()


async def answered(client, page, message):
    """The agent's reading of the answer, once the page shows it as answered."""
    await expect(page.get_by_role("heading", name="Answered")).to_be_visible()
    result = await client.wait_for_review(CHANNEL, message.id, 5)
    return read_answer(result.message.review)


async def test_approve_with_a_comment(client, page):
    """The button pressed and the words beside it; the review leaves the list and joins the history."""
    options = (APPROVE, REJECT, ApprovalOption(id="again", label="Make another"))
    message = await ask(
        client, Approval(options=options, expires_in=timedelta(minutes=5)), "Publish **now**?"
    )
    await opened(page, message)
    await expect(page.locator(".facts")).to_contain_text("expires in 5 min")
    await page.get_by_label("Comment").fill("  a bit dark  ")
    await page.get_by_role("button", name="Make another").click()
    assert await answered(client, page, message) == ApprovalAnswer(
        selected_option="again", comment="a bit dark"
    )
    await expect(page.locator(f'#list a[href="#review/{message.id}"]')).to_have_count(0)
    await page.get_by_role("button", name="History").click()
    await expect(page.locator(f'#list a[href="#review/{message.id}"]')).to_contain_text("Make another")


async def test_choose_pictures(client, page, tmp_path):
    """The attached pictures stand in the choices; the order of the clicks is kept."""
    files = []
    for name, colour in (("red", (200, 60, 60)), ("green", (60, 160, 80)), ("blue", (60, 90, 200))):
        path = tmp_path / f"{name}.png"
        path.write_bytes(picture(*colour))
        files.append(await client.store_file(CHANNEL, path))
    items = tuple(SelectionItem(id=file.id, label=file.filename.removesuffix(".png")) for file in files)
    message = await ask(
        client, Selection(mode="multi", items=items), attachment_ids=tuple(file.id for file in files)
    )
    await opened(page, message)
    shown = page.locator(".choice img")
    await expect(shown).to_have_count(3)
    # One evaluation: the page's policy refuses the repeated ones of wait_for_function.
    widths = "(pictures) => Promise.all(pictures.map((i) => i.decode().then(() => i.naturalWidth)))"
    assert await shown.evaluate_all(widths) == [64, 64, 64]
    await page.get_by_role("button", name="Submit").click()
    await expect(page.locator("#choice-problem")).to_have_text("Choose at least one.")
    for name in ("blue", "green", "red", "green"):
        await page.get_by_role("checkbox", name=name).click()
    await page.get_by_role("button", name="Enlarge blue").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.get_by_role("button", name="Close").click()
    await page.get_by_role("button", name="Submit").click()
    answer = await answered(client, page, message)
    assert answer == SelectionAnswer(selected_ids=(files[2].id, files[0].id))
    await expect(page.locator(".pictures img")).to_have_count(3)


async def test_choose_one_or_none(client, page):
    """A single choice is one; the dismiss button answers without choosing."""
    items = (SelectionItem(id="a", label="Alpha"), SelectionItem(id="b", label="Beta", description="second"))
    for label, expected in (("Use it", SelectionAnswer(selected_ids=("b",))), ("None of them", Dismissed())):
        review = Selection(items=items, submit_label="Use it", dismiss_label="None of them")
        message = await ask(client, review)
        await opened(page, message)
        await page.get_by_role("radio", name="Alpha").click()
        await page.get_by_role("radio", name="Beta").click()
        await page.get_by_role("button", name=label).click()
        assert await answered(client, page, message) == expected


FIELDS = (
    FormField(
        name="env",
        type="select",
        label="Environment",
        required=True,
        options=(
            FieldOption(value="staging", label="Staging"),
            FieldOption(value="prod", label="Production"),
        ),
    ),
    FormField(name="count", type="number", label="Instances", required=True, min=1, max=10, unit="machines"),
    FormField(name="load", type="range", label="Load", min=0, max=100, step=10, default_value=40),
    FormField(name="mail", type="email", label="Mail"),
    FormField(name="site", type="url", label="Site"),
    FormField(name="notes", type="textarea", label="Notes"),
    FormField(name="day", type="date", label="Day"),
    FormField(name="at", type="time", label="Clock"),
    FormField(name="when", type="datetime", label="When"),
    FormField(name="token", type="password", label="Token"),
    FormField(name="sure", type="checkbox", label="Sure"),
    FormField(name="unsure", type="checkbox", label="Perhaps"),
    FormField(name="name", type="text", label="Name", placeholder="yours"),
)


async def test_fill_in_a_form(client, page):
    """Every type of field; what is missing or out of bounds is said beside it; untouched ones are absent."""
    message = await ask(client, Form(fields=FIELDS, submit_label="Deploy"))
    await opened(page, message)
    await page.get_by_role("button", name="Deploy").click()
    await expect(page.locator("#field-0-problem")).to_have_text("Environment is required.")
    await expect(page.get_by_label("Environment")).to_be_focused()
    await page.get_by_label("Environment").select_option("prod")
    await page.get_by_label("Instances").fill("11")
    await page.get_by_role("button", name="Deploy").click()
    await expect(page.locator("#field-1-problem")).to_contain_text("10")
    await page.get_by_label("Instances").fill("3")
    await page.get_by_label("Load").fill("70")
    for label, value in (
        ("Mail", "a@b.example"),
        ("Site", "https://x.example/"),
        ("Notes", "two\nlines"),
        ("Day", "2026-11-23"),
        ("Clock", "08:30"),
        ("When", "2026-11-23T08:30"),
        ("Token", "s3cret"),
    ):
        await page.get_by_label(label, exact=False).first.fill(value)
    await page.get_by_label("Sure", exact=True).check()
    await page.get_by_role("button", name="Deploy").click()
    answer = await answered(client, page, message)
    assert answer.usable, answer.problems
    assert answer.values == {
        "env": "prod",
        "count": 3,
        "load": 70,
        "mail": "a@b.example",
        "site": "https://x.example/",
        "notes": "two\nlines",
        "day": "2026-11-23",
        "at": "08:30",
        "when": "2026-11-23T08:30",
        "token": "s3cret",
        "sure": True,
    }
    raw = (await client.get_review(CHANNEL, message.id)).review.response
    assert raw["count"] == "3"
    assert raw["load"] == 70
    assert "s3cret" not in await page.content()


async def test_change_a_text(client, page, tmp_path):
    """The text is there to be changed; feedback and a changed file go along."""
    path = tmp_path / "draft.png"
    path.write_bytes(PNG)
    stored = await client.store_file(CHANNEL, path)
    review = TextInput(prefill="Old words", min_length=5, max_length=30, submit_label="Save")
    message = await ask(client, review, attachment_ids=(stored.id,))
    await opened(page, message)
    await expect(page.get_by_label("Change the text")).to_have_value("Old words")
    await page.get_by_label("Change the text").fill("   New  ")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#text-problem")).to_have_text("Write at least 5 characters.")
    await page.get_by_label("Change the text").fill("  New words\nhere ")
    await page.get_by_text("Add feedback or a changed file").click()
    await page.get_by_label("Feedback").fill("mind the tone")
    changed = tmp_path / "better.png"
    changed.write_bytes(picture(1, 2, 3))
    await page.get_by_label("Changed version of draft.png").set_input_files(changed)
    await page.get_by_role("button", name="Save").click()
    answer = await answered(client, page, message)
    assert isinstance(answer, TextAnswer)
    assert (answer.text, answer.feedback) == ("New words\nhere", "mind the tone")
    fetched = await client.download_file(answer.modified_files[stored.id], tmp_path / "back.png")
    assert fetched.path.read_bytes() == changed.read_bytes()


async def test_answer_freely(client, page):
    """Any JSON object, and nothing else."""
    message = await ask(client, Freeform(content={"schema": {"type": "object"}}, plugin="form-submit"))
    await opened(page, message)
    await page.get_by_label("Your answer as JSON").fill("[1]")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.locator("#raw-problem")).to_have_text("This is no JSON object.")
    await page.get_by_label("Your answer as JSON").fill('{"seed": 7}')
    await page.get_by_role("button", name="Submit").click()
    assert await answered(client, page, message) == FreeformAnswer(value={"seed": 7})


async def test_what_agents_write_is_never_run(client, page):
    """Titles, labels, names, texts and Markdown are shown as they are."""
    items = (SelectionItem(id=NASTY, label=NASTY, description=NASTY),)
    message = await ask(client, Selection(items=items, submit_label=NASTY, dismiss_label=NASTY), f"# {NASTY}")
    await opened(page, message)
    await expect(page.locator(".choice")).to_contain_text('<img src=x onerror="window.hit=1">')
    assert await page.locator("main script, main img, main a[href^=javascript]").count() == 0
    assert await page.evaluate("window.hit") is None
    await page.get_by_role("radio").click()
    await page.get_by_role("button", name="<script>").first.click()
    assert await answered(client, page, message) == SelectionAnswer(selected_ids=(NASTY,))
    assert await page.evaluate("window.hit") is None


async def test_new_reviews_appear_and_a_form_in_hand_stays(client, page):
    """The list follows by itself; what is being written is not lost."""
    first = await ask(client, TextInput(), "First question")
    await opened(page, first)
    await page.get_by_label("Your text").fill("half a thou")
    second = await ask(client, Approval(), "Second question")
    await expect(page.locator(f'#list a[href="#review/{second.id}"]')).to_be_visible()
    await expect(page.get_by_label("Your text")).to_have_value("half a thou")
    await expect(page).to_have_title(re.compile(r"\(\d+\) Reviews"))


async def test_somebody_else_was_faster(client, page, world):
    """The second answer is refused, and the page shows the first one."""
    message = await ask(client, Approval(), "Who is first?")
    await opened(page, message)
    await world.answer(message, {"selectedOption": "reject"})
    button = page.get_by_role("button", name="Approve")
    if await button.count():
        await button.click()
    assert await answered(client, page, message) == ApprovalAnswer(selected_option="reject")
    await expect(page.locator("dl.answered")).to_contain_text("Reject")


async def test_channels_rounds_messages_and_deletion(client, page, world):
    """The filter narrows, rounds link to each other, a person may write and delete."""
    first = await ask(client, Approval(), "Round one")
    await world.answer(first, {"selectedOption": "reject"}, feedback="darker")
    second = await ask(client, Approval(), "Round two", iteration_of=first.id)
    other = await client.post_message(ESCALATION, MessageContent(text="Elsewhere", review=Approval()))
    await page.get_by_label("Channel").select_option(ESCALATION)
    await expect(page.locator("#list a")).to_have_count(1)
    await page.get_by_label("Channel").select_option("")
    await opened(page, second)
    await page.get_by_role("link", name="Round one").click()
    await expect(page.locator("dl.answered")).to_contain_text("darker")
    await opened(page, other)
    await page.get_by_text("More", exact=True).click()
    await page.get_by_label("Write to Escalations").fill("I am on it")
    await page.get_by_role("button", name="Send message").click()
    await page.get_by_role("button", name="Messages").click()
    await expect(page.locator("#list")).to_contain_text("I am on it")
    await page.get_by_role("button", name="Delete this message").click()
    await page.get_by_role("button", name="Really delete").click()
    await expect(page.locator("#toast")).to_have_text("Deleted.")
    assert other.id not in {waiting.id for waiting in await client.list_pending_reviews(ESCALATION)}


async def test_the_list_shows_what_is_asked_and_has_addresses(client, page, world):
    """Rows of one heading are told apart by their second line; the history can be linked to."""
    first = await ask(client, Approval(), "**Campaign**\n\nApprove this *picture*?\n\nmore")
    second = await ask(client, Approval(), "**Campaign**\n\nWhich text?")
    rows = {message.id: page.locator(f'#list a[href="#review/{message.id}"]') for message in (first, second)}
    await expect(rows[first.id].locator(".row-title")).to_have_text("Campaign")
    await expect(rows[first.id].locator(".row-snippet")).to_have_text("Approve this picture?")
    await expect(rows[second.id].locator(".row-snippet")).to_have_text("Which text?")
    await world.answer(first, {"selectedOption": "approve"})
    await page.goto(f"{world.base_url}/#history")
    await expect(page.get_by_role("button", name="History")).to_have_attribute("aria-pressed", "true")
    await expect(rows[first.id]).to_contain_text("Approve")
    await expect(rows[second.id]).to_have_count(0)


async def test_by_keyboard_alone(client, page):
    """A review is reached, decided and left without a pointer."""
    message = await ask(client, Approval(expires_in=timedelta(seconds=30)), "By keyboard")
    row = page.locator(f'#list a[href="#review/{message.id}"]')
    await row.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.dataset.option") == "approve":
            break
    await page.keyboard.press("Enter")
    assert await answered(client, page, message) == ApprovalAnswer(selected_option="approve")


async def test_on_a_phone(client, world):
    """List and review are two views, nothing is wider than the screen, targets are large."""
    message = await ask(client, Approval(), "On the way " + "unbreakable" * 20)
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    async with browsing(**phone, color_scheme="dark") as (page, complaints):
        await page.goto(f"{world.base_url}/#review/{message.id}")
        await expect(page.locator("#list")).to_be_hidden()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        box = await page.get_by_role("button", name="Approve").bounding_box()
        assert box["height"] >= 44
        await page.get_by_role("link", name="All reviews").click()
        await expect(page.locator("#list")).to_be_visible()
        assert complaints == []


async def test_the_page_trusts_no_other_site(process, world, client, tmp_path):
    """Foreign host names, forms of other sites and scripts in pictures get nowhere."""
    message = await ask(client, Approval())
    path = tmp_path / "evil.svg"
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    stored = await client.store_file(CHANNEL, path)
    async with httpx.AsyncClient(base_url=f"{world.base_url}/reviewer") as http:
        forged = await http.post(f"/messages/{message.id}/respond", json={"response": {}})
        assert forged.status_code == 403
        assert (await http.delete(f"/messages/{message.id}")).status_code == 403
        rebound = await http.get("/inbox", headers={"Host": f"evil.example:{process.port}"})
        assert rebound.status_code == 403
        picture_ = await http.get(f"/files/{stored.id}")
        assert picture_.headers["content-type"] == "application/octet-stream"
        assert picture_.headers["content-disposition"].startswith("attachment")
        policy = (await http.get("/inbox")).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        missing = await http.get("/messages/none")
        assert (missing.status_code, missing.json()["message"]) == (404, "Message not found")


async def test_more_reviews_than_a_page_shows(tmp_path):
    """The page shows the most urgent ones, and says how many there are."""
    running = await asyncio.to_thread(start_sandbox, state=tmp_path / "many.db", placet=QUICK)
    world = World(running.url)
    try:
        async with world.client() as client:
            for start in range(0, 300, 50):
                await asyncio.gather(*(ask(client, Approval(), f"Review {start + n}") for n in range(50)))
            inbox = (await world.people.get("/inbox")).json()
        assert (inbox["total"], len(inbox["waiting"])) == (300, 200)
        assert inbox["waiting"][0]["title"].startswith("Review")
    finally:
        await world.aclose()
        await asyncio.to_thread(running.stop)
