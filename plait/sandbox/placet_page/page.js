"use strict";
// The reviewer page. Everything an agent wrote is set as text; only `html`, which the server has
// sanitised, is set as markup, and the page's policy forbids inline code even there.

const $ = (id) => document.getElementById(id);
const EVERY = 2000;
const SOON = 15 * 60 * 1000;
const state = { inbox: null, view: "waiting", channel: "", open: null, shown: null, skew: 0 };

/** An element with properties and children; strings become text. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

async function ask(path, options = {}) {
  const answer = await fetch(`reviewer/${path}`, {
    ...options, headers: { "X-Reviewer": "page", ...(options.headers || {}) }, cache: "no-store",
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(body.message || `HTTP ${answer.status}`), { status: answer.status });
  return body;
}

const send = (path, body) => ask(path, {
  method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
});

// ---------------------------------------------------------------- times

const now = () => Date.now() + state.skew;

function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
  return `${Math.round(minutes / 1440)} days`;
}

function timed(kind, moment) {
  return make("time", { datetime: moment, title: new Date(moment).toLocaleString(), "data-kind": kind }, relative(kind, moment));
}

function relative(kind, moment) {
  const left = Date.parse(moment) - now();
  if (kind === "age") return `${span(-left)} ago`;
  return left >= 0 ? `expires in ${span(left)}` : `expired ${span(-left)} ago`;
}

function tick() {
  for (const element of document.querySelectorAll("time[data-kind]")) {
    const { kind } = element.dataset;
    element.textContent = relative(kind, element.dateTime);
    if (kind !== "expiry") continue;
    const left = Date.parse(element.dateTime) - now();
    element.classList.toggle("soon", left < SOON && left >= 0);
    element.classList.toggle("expired", left < 0);
  }
}

// ---------------------------------------------------------------- inbox

async function refresh() {
  try {
    const inbox = await ask("inbox");
    state.skew = Date.parse(inbox.now) - Date.now();
    const changed = JSON.stringify({ ...inbox, now: null }) !== JSON.stringify({ ...state.inbox, now: null });
    state.inbox = inbox;
    $("connection").textContent = "";
    if (changed) {
      drawChannels();
      drawList();
      await followOpen();
    }
  } catch (error) {
    $("connection").textContent = "No connection to the sandbox; trying again.";
  }
  tick();
}

function drawChannels() {
  const select = $("channel");
  const options = state.inbox.channels.map((channel) =>
    make("option", { value: channel.id }, channel.waiting ? `${channel.name} (${channel.waiting})` : channel.name));
  select.replaceChildren(make("option", { value: "" }, "All channels"), ...options);
  select.value = state.channel;
  $("count-waiting").textContent = state.inbox.total;
  document.title = state.inbox.total ? `(${state.inbox.total}) Reviews` : "Reviews";
}

const NOTHING = {
  waiting: "Nothing waits for you.",
  answered: "Nothing was answered yet.",
  messages: "No other messages.",
};

function rows() {
  return state.inbox[state.view].filter((row) => !state.channel || row.channelId === state.channel);
}

function drawList() {
  if (!state.inbox) return;
  const found = rows();
  const held = document.activeElement && document.activeElement.closest("#list a");
  const focused = held ? held.getAttribute("href") : null;
  $("list").replaceChildren(...found.map(drawRow));
  if (focused) document.querySelector(`#list a[href="${CSS.escape(focused)}"]`)?.focus();
  const more = state.view === "waiting" && state.inbox.total > state.inbox.waiting.length;
  $("nothing").hidden = found.length > 0 && !more;
  $("nothing").textContent = more ? `The ${state.inbox.waiting.length} most urgent of ${state.inbox.total} are shown.` : NOTHING[state.view];
  for (const tab of document.querySelectorAll("[data-view]")) {
    tab.setAttribute("aria-pressed", String(tab.dataset.view === state.view));
  }
}

const KINDS = { approval: "Approval", selection: "Selection", form: "Form", "text-input": "Text", freeform: "Free form" };

function drawRow(row) {
  const facts = make("span", { class: "row-facts" }, `${row.channel} · `);
  if (row.type) facts.append(`${KINDS[row.type] || row.type} · `);
  if (row.round) facts.append(`round ${row.round} · `);
  if (row.status === "pending") facts.append(timed("age", row.createdAt), " · ", timed("expiry", row.expiresAt));
  else if (row.outcome) facts.append(`${row.outcome} · `, timed("age", row.completedAt || row.expiresAt));
  else facts.append(row.sender === "user" ? "from a person · " : "", timed("age", row.createdAt));
  if (row.streaming === "streaming") facts.append(" · being written");
  if (row.streaming === "aborted") facts.append(" · aborted");
  return make("li", {}, make("a",
    { href: `#review/${row.id}`, "aria-current": row.id === state.open ? "true" : null },
    make("span", { class: "row-title" }, row.title),
    row.snippet ? make("span", { class: "row-snippet" }, row.snippet) : null, facts,
    row.picture ? make("img", { class: "thumb", src: `reviewer/files/${row.picture}`, alt: "", loading: "lazy" }) : null));
}

// ---------------------------------------------------------------- one message

const VIEWS = { "#waiting": "waiting", "#history": "answered", "#messages": "messages" };

function route() {
  state.view = VIEWS[location.hash] || state.view;
  const found = /^#review\/([\w-]+)$/.exec(location.hash);
  state.open = found ? found[1] : null;
  document.body.classList.toggle("open", Boolean(state.open));
  drawList();
  if (state.open) openMessage(true);
  else $("detail").replaceChildren(make("p", { class: "nothing" }, "Choose a review on the left."));
}

/** Draw again only what changed at the server: a form that is being filled in stays as it is. */
async function followOpen() {
  if (!state.open || !state.shown) return;
  const known = ["waiting", "answered", "messages"].flatMap((view) => state.inbox[view]).find((row) => row.id === state.open);
  if (!known || known.status !== state.shown.status || known.updatedAt !== state.shown.updatedAt) await openMessage(false);
}

async function openMessage(focus) {
  const id = state.open;
  let message;
  try {
    message = await ask(`messages/${encodeURIComponent(id)}`);
  } catch (error) {
    if (id !== state.open) return;
    state.shown = null;
    const words = error.status === 404 ? "This message is gone: somebody deleted it." : `It cannot be shown: ${error.message}`;
    $("detail").replaceChildren(backLink(), make("p", { class: "nothing" }, words));
    return;
  }
  if (id !== state.open) return;
  state.shown = message;
  $("detail").replaceChildren(...drawMessage(message));
  tick();
  if (focus) { $("detail").scrollTop = 0; window.scrollTo(0, 0); $("detail").focus({ preventScroll: true }); }
}

const backLink = () => make("p", { class: "back" }, make("a", { href: "#" }, "← All reviews"));

function drawMessage(message) {
  const review = message.review;
  const pending = message.status === "pending";
  const facts = make("p", { class: "facts" },
    make("span", { class: `badge ${pending ? "waiting" : message.status || message.level || ""}` }, badge(message)),
    make("span", {}, message.channel),
    message.round ? make("span", {}, `round ${message.round}`) : null,
    timed("age", message.createdAt));
  if (pending) {
    const expiry = timed("expiry", message.expiresAt);
    expiry.className = "badge";
    facts.append(expiry);
  }
  const prose = make("div", { class: "prose" });
  const template = document.createElement("template");
  template.innerHTML = message.html;
  prose.append(template.content);
  const first = prose.firstElementChild;
  if (first && first.textContent.length <= 120 && /^(P|H\d)$/.test(first.tagName)) first.classList.add("lead");
  const shown = make("article", { class: "card" }, make("h2", { class: "unseen" }, message.title), facts, prose, drawPictures(message), drawFiles(message));
  const parts = [backLink(), shown];
  if (pending) parts.push(drawForm(message));
  else if (review) parts.push(drawAnswer(message));
  if (message.rounds.length > 1) parts.push(drawRounds(message));
  parts.push(drawMore(message));
  return parts;
}

function badge(message) {
  if (message.status === "pending") return "Waiting for you";
  if (message.status === "completed") return message.outcome;
  if (message.status === "expired") return "Expired";
  if (message.streaming === "streaming") return "Being written";
  if (message.streaming === "aborted") return "Aborted";
  return message.sender === "user" ? "From a person" : message.level || "Message";
}

function drawPictures(message) {
  const offered = message.status === "pending" && message.type === "selection"
    ? (message.review.payload?.items || []).map((item) => pictureFor(item, message.files)) : [];
  const pictures = message.files.filter((file) => file.picture && !offered.includes(file));
  if (!pictures.length) return null;
  return make("ul", { class: pictures.length === 1 ? "pictures one" : "pictures" }, ...pictures.map((file) =>
    make("li", {}, make("figure", {},
      make("button", { type: "button", "aria-label": `Enlarge ${file.name}`, onclick: () => enlarge(file) },
        make("img", { src: `reviewer/files/${file.id}`, alt: file.name })),
      make("figcaption", {}, `${file.name} · ${size(file.size)}`)))));
}

function drawFiles(message) {
  const files = message.files.filter((file) => !file.picture);
  if (!files.length) return null;
  return make("ul", { class: "files" }, ...files.map((file) => make("li", {},
    make("a", { href: `reviewer/files/${file.id}`, download: file.name }, file.name), ` · ${size(file.size)}`,
    file.text ? make("pre", { tabindex: "0" }, file.text) : null)));
}

function enlarge(file) {
  $("viewer-picture").src = `reviewer/files/${file.id}`;
  $("viewer-picture").alt = file.name;
  $("viewer").showModal();
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(0)} KB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

function drawRounds(message) {
  return make("section", { class: "card", "aria-labelledby": "rounds" }, make("h2", { id: "rounds" }, "Rounds"),
    make("ol", { class: "rounds" }, ...message.rounds.map((round) => make("li", {},
      round.id === message.id ? make("strong", {}, round.title) : make("a", { href: `#review/${round.id}` }, round.title),
      ` · ${round.outcome || "waiting"}`))));
}

function drawMore(message) {
  const remove = make("button", { type: "button", class: "press ghost" }, "Delete this message");
  let sure = false;
  remove.addEventListener("click", async () => {
    if (!sure) { sure = true; remove.textContent = "Really delete? The agent gets no answer."; return; }
    try {
      await ask(`messages/${encodeURIComponent(message.id)}`, { method: "DELETE" });
      toast("Deleted."); location.hash = "#"; await refresh();
    } catch (error) { toast(`Not deleted: ${error.message}`); }
  });
  const again = message.delivery.startsWith("webhook_") && message.status === "completed"
    ? make("button", { type: "button", class: "press ghost" }, "Call the webhook again") : null;
  again?.addEventListener("click", async () => {
    try { await send(`messages/${encodeURIComponent(message.id)}/webhook`, {}); toast("The webhook is called once more."); }
    catch (error) { toast(`Not called: ${error.message}`); }
  });
  const words = make("textarea", { id: "note", rows: 2, required: true });
  const note = make("form", { class: "stack" }, make("div", { class: "field" }, make("label", { for: "note" }, `Write to ${message.channel}`), words),
    make("div", { class: "actions" }, make("button", { class: "press" }, "Send message")));
  note.addEventListener("submit", async (event) => {
    event.preventDefault();
    try { await send(`channels/${encodeURIComponent(message.channelId)}/messages`, { text: words.value }); words.value = ""; toast("Message sent."); await refresh(); }
    catch (error) { toast(`Not sent: ${error.message}`); }
  });
  return make("details", { class: "card" }, make("summary", {}, "More"), make("div", { class: "stack" }, note, make("div", { class: "actions" }, again, remove)));
}

// ---------------------------------------------------------------- answers given

function drawAnswer(message) {
  const { review } = message;
  const facts = make("dl", { class: "answered" });
  const add = (name, value) => facts.append(make("dt", {}, name), make("dd", {}, value));
  const response = review.response || {};
  if (review.status === "completed") add("Decision", message.outcome);
  if (review.type === "form") for (const field of (review.payload && review.payload.fields) || []) {
    if (field.name in response) add(field.label || field.name, String(response[field.name]));
  } else if (review.type === "text-input" && typeof response.text === "string") add("Text", response.text);
  else if (!["approval", "selection"].includes(review.type)) add("Answer", JSON.stringify(response, null, 2));
  if (response.comment) add("Comment", response.comment);
  if (review.feedback) add("Feedback", review.feedback);
  for (const [original, file] of Object.entries(message.changed)) {
    const name = (message.files.find((each) => each.id === original) || { name: original }).name;
    facts.append(make("dt", {}, `Changed: ${name}`), make("dd", {}, make("a", { href: `reviewer/files/${file.id}`, download: file.name }, file.name)));
  }
  const next = state.inbox && rowsOf("waiting")[0];
  return make("section", { class: "card", "aria-labelledby": "answered" },
    make("h2", { id: "answered" }, review.status === "expired" ? "Nobody answered in time" : "Answered"),
    review.completedAt ? make("p", { class: "hint" }, timed("age", review.completedAt)) : null, facts,
    next ? make("p", { class: "actions" }, make("a", { href: `#review/${next.id}` }, "Next waiting review →")) : null);
}

const rowsOf = (view) => state.inbox[view].filter((row) => row.id !== state.open && (!state.channel || row.channelId === state.channel));

// ---------------------------------------------------------------- the five forms

function drawForm(message) {
  const payload = message.review.payload || {};
  const form = make("form", { class: "card answer", novalidate: true, "aria-label": "Your answer" });
  const kind = FORMS[message.review.type];
  if (!kind) {
    form.append(make("h2", {}, `A review of type “${message.review.type}”`),
      make("p", { class: "hint" }, "Placet has no form for it; this is the raw answer."));
  }
  const problem = make("p", { class: "problem", role: "alert" });
  const beside = drawBeside(message);
  const submit = async (response) => {
    problem.textContent = "";
    for (const button of form.querySelectorAll("button")) button.disabled = true;
    try {
      const body = { response, ...(await beside.collect()) };
      await send(`messages/${encodeURIComponent(message.id)}/respond`, body);
      toast("Answered. The agent will see it in a moment.");
      await refresh();
      if (state.open === message.id) await openMessage(true);
    } catch (error) {
      problem.textContent = `Not sent: ${error.message}. ${error.status === 403 ? "Somebody was faster." : "Try again."}`;
      for (const button of form.querySelectorAll("button")) button.disabled = false;
      if (error.status === 403) { toast(problem.textContent); await openMessage(false); }
    }
  };
  (kind || FORMS.freeform)(form, payload, submit, message);
  const actions = form.querySelector(".actions");
  if (payload.dismissLabel && ["selection", "form", "text-input"].includes(message.review.type)) {
    actions.append(make("button", { type: "button", class: "press ghost", onclick: () => submit({ _dismissed: true }) }, payload.dismissLabel));
  }
  actions.before(beside.element);
  form.append(problem, make("p", { class: "hint" }, "An answer is final."));
  return form;
}

/** Feedback and changed files, which stand beside every answer. */
function drawBeside(message) {
  const feedback = make("textarea", { id: "feedback", rows: 3 });
  const inputs = message.files.map((file) => [file, make("input", { type: "file", id: `changed-${file.id}`, accept: file.type })]);
  const element = make("details", {}, make("summary", {}, message.files.length ? "Add feedback or a changed file" : "Add feedback"),
    make("div", { class: "stack" },
      make("div", { class: "field" }, make("label", { for: "feedback" }, "Feedback ", make("span", { class: "optional" }, "optional")), feedback),
      ...inputs.map(([file, input]) => make("div", { class: "field" }, make("label", { for: input.id }, `Changed version of ${file.name} `, make("span", { class: "optional" }, "optional")), input))));
  const collect = async () => {
    const extra = {};
    if (feedback.value.trim()) extra.feedback = feedback.value.trim();
    for (const [file, input] of inputs) {
      if (!input.files.length) continue;
      const data = new FormData();
      data.append("file", input.files[0]);
      const kept = await ask(`messages/${encodeURIComponent(message.id)}/files`, { method: "POST", body: data });
      extra.modifiedFileIds = { ...(extra.modifiedFileIds || {}), [file.id]: kept.id };
    }
    return extra;
  };
  return { element, collect };
}

/** Show what is wrong with a field, and give it the focus. */
function complain(input, problem, words) {
  problem.textContent = words;
  input.setAttribute("aria-invalid", "true");
  input.addEventListener("input", () => { input.removeAttribute("aria-invalid"); problem.textContent = ""; }, { once: true });
}

const FORMS = {
  approval(form, payload, submit) {
    const options = payload.options && payload.options.length ? payload.options
      : [{ id: "approve", label: "Approve", style: "primary" }, { id: "reject", label: "Reject", style: "danger" }];
    const comment = payload.allowComment ? make("textarea", { id: "comment", rows: 3 }) : null;
    form.append(make("h2", {}, "Your decision"));
    if (comment) form.append(make("div", { class: "field" }, make("label", { for: "comment" }, "Comment ", make("span", { class: "optional" }, "optional")), comment));
    const decide = (option) => () => {
      const said = comment ? comment.value.trim() : "";
      submit(said ? { selectedOption: option.id, comment: said } : { selectedOption: option.id });
    };
    form.append(make("div", { class: "actions" }, ...options.map((option) =>
      make("button", { type: "button", class: `press ${STYLES.has(option.style) ? option.style : ""}`, "data-option": option.id, onclick: decide(option) }, option.label || option.id))));
    form.addEventListener("submit", (event) => event.preventDefault());
  },

  selection(form, payload, submit, message) {
    const items = payload.items || [];
    const multi = payload.mode === "multi";
    const clicked = [];
    const problem = make("p", { class: "problem", id: "choice-problem" });
    const pictures = items.map((item) => pictureFor(item, message.files));
    const set = make("fieldset", { class: pictures.some(Boolean) ? "gallery" : "", "aria-describedby": "choice-problem" },
      make("legend", {}, multi ? "Choose one or more" : "Choose one"));
    items.forEach((item, number) => {
      const input = make("input", { type: multi ? "checkbox" : "radio", name: "item", value: item.id });
      input.addEventListener("change", () => {
        problem.textContent = "";
        if (!multi) clicked.length = 0;
        const at = clicked.indexOf(item.id);
        if (input.checked) clicked.push(item.id);
        else if (at >= 0) clicked.splice(at, 1);
      });
      const picture = pictures[number];
      const choice = make("label", { class: "choice" }, input,
        make("span", { class: "words" }, make("strong", {}, item.label || item.id), item.description ? make("span", {}, item.description) : null),
        picture ? make("img", { src: `reviewer/files/${picture.id}`, alt: picture.name }) : null);
      set.append(picture ? make("div", { class: "offered" }, choice,
        make("button", { type: "button", class: "enlarge", onclick: () => enlarge(picture) }, `Enlarge ${item.label || picture.name}`)) : choice);
    });
    form.append(set, problem, make("div", { class: "actions" }, make("button", { class: "press primary" }, payload.submitLabel || "Submit")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (clicked.length) { submit({ selectedIds: [...clicked] }); return; }
      problem.textContent = "Choose at least one.";
      set.querySelector("input")?.focus();
    });
  },

  form(form, payload, submit) {
    const fields = (payload.fields || []).map((field, number) => drawField(field, number));
    form.append(make("h2", {}, "Your answer"), ...fields.map((field) => field.element),
      make("div", { class: "actions" }, make("button", { class: "press primary" }, payload.submitLabel || "Submit")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const response = {};
      let wrong = null;
      for (const field of fields) {
        const value = field.value();
        if (value === undefined) {
          if (field.required) { complain(field.input, field.problem, `${field.label} is required.`); wrong = wrong || field.input; }
          continue;
        }
        if (!field.input.validity.valid) { complain(field.input, field.problem, field.input.validationMessage); wrong = wrong || field.input; }
        response[field.name] = value;
      }
      if (wrong) wrong.focus();
      else submit(response);
    });
  },

  "text-input"(form, payload, submit) {
    const long = payload.markdown || (payload.prefill || "").length > 120;
    const text = make("textarea", { id: "text", class: long ? "long" : "", placeholder: payload.placeholder, "aria-describedby": "text-hint text-problem" });
    text.value = payload.prefill || "";
    const problem = make("p", { class: "problem", id: "text-problem" });
    const hint = make("p", { class: "hint", id: "text-hint" });
    const bounds = [payload.minLength ? `at least ${payload.minLength}` : "", payload.maxLength ? `at most ${payload.maxLength}` : ""].filter(Boolean).join(", ");
    const count = () => { hint.textContent = `${text.value.trim().length} characters${bounds ? ` (${bounds})` : ""}${payload.markdown ? " · Markdown" : ""}`; };
    text.addEventListener("input", count);
    count();
    form.append(make("div", { class: "field" }, make("label", { for: "text" }, payload.prefill ? "Change the text" : "Your text"), text, hint, problem),
      make("div", { class: "actions" }, make("button", { class: "press primary" }, payload.submitLabel || "Submit")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const said = text.value.trim();
      const words = !said ? "Write something." : said.length < (payload.minLength || 0) ? `Write at least ${payload.minLength} characters.`
        : payload.maxLength && said.length > payload.maxLength ? `Write at most ${payload.maxLength} characters.` : "";
      if (!words) { submit({ text: said }); return; }
      complain(text, problem, words);
      text.focus();
    });
  },

  freeform(form, payload, submit) {
    const raw = make("textarea", { id: "raw", class: "long code", spellcheck: "false", "aria-describedby": "raw-hint raw-problem" });
    raw.value = "{\n  \n}";
    const problem = make("p", { class: "problem", id: "raw-problem" });
    const asked = payload.schema || payload;
    form.append(make("div", { class: "field" }, make("p", {}, make("strong", {}, payload.plugin ? `For the plugin ${payload.plugin}` : "What is asked for")), make("pre", { class: "schema", tabindex: "0" }, JSON.stringify(asked, null, 2))),
      make("div", { class: "field" }, make("label", { for: "raw" }, "Your answer as JSON"), raw, make("p", { class: "hint", id: "raw-hint" }, "An object, such as {\"ok\": true}."), problem),
      make("div", { class: "actions" }, make("button", { class: "press primary" }, payload.submitLabel || "Submit")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      let value = null;
      try { value = JSON.parse(raw.value); } catch (error) { value = null; }
      if (value && typeof value === "object" && !Array.isArray(value)) { submit(value); return; }
      complain(raw, problem, "This is no JSON object.");
      raw.focus();
    });
  },
};

const STYLES = new Set(["primary", "danger", "secondary", "ghost"]);

/** The attached picture that an item means: by id, or by the file's name, with the agent's marker or without. */
function pictureFor(item, files) {
  const stem = (name) => name.replace(/\.[^.]*$/, "");
  const names = [item.id, item.label, item.description].filter(Boolean);
  return files.find((file) => file.picture && (file.id === item.id || names.some((name) =>
    file.name === name || stem(file.name) === stem(name) || stem(file.name).startsWith(`${stem(name)}-`)))) || null;
}

const INPUTS = { datetime: "datetime-local", checkbox: "checkbox", textarea: "textarea", select: "select" };

/** One field, and its value as Placet's own page sends it: numbers as text, ranges as numbers, untouched ones absent. */
function drawField(field, number) {
  const id = `field-${number}`;
  const type = INPUTS[field.type] || field.type || "text";
  const common = { id, required: field.required, placeholder: field.placeholder, "aria-describedby": `${id}-problem` };
  let input;
  if (type === "textarea") input = make("textarea", common);
  else if (type === "select") {
    input = make("select", common, make("option", { value: "" }, field.placeholder || "Choose…"),
      ...(field.options || []).map((option) => make("option", { value: option.value }, option.label || option.value)));
  } else {
    input = make("input", { ...common, type, min: field.min, max: field.max, step: field.step || (type === "number" ? "any" : null),
      autocomplete: type === "password" ? "new-password" : null });
  }
  let touched = false;
  if (field.defaultValue !== undefined && field.defaultValue !== null) {
    if (type === "checkbox") input.checked = Boolean(field.defaultValue);
    else input.value = field.defaultValue;
    touched = true;
  }
  const output = type === "range" ? make("output", { for: id }, input.value) : null;
  input.addEventListener("input", () => { touched = true; if (output) output.textContent = input.value; });
  input.addEventListener("change", () => { touched = true; });
  const problem = make("p", { class: "problem", id: `${id}-problem` });
  const name = make("label", { for: id }, field.label || field.name, " ", field.required ? null : make("span", { class: "optional" }, "optional"));
  const unit = field.unit ? make("span", { class: "hint" }, field.unit) : null;
  const element = type === "checkbox"
    ? make("div", { class: "field" }, make("label", { class: "choice", for: id }, input, make("span", { class: "words" }, make("strong", {}, field.label || field.name))), problem)
    : make("div", { class: "field" }, name, unit || output ? make("div", { class: "with-unit" }, input, output, unit) : input, problem);
  const value = () => {
    if (type === "checkbox") return touched || input.checked ? (field.required && !input.checked ? undefined : input.checked) : undefined;
    if (type === "range") return touched || field.required ? Number(input.value) : undefined;
    return input.value === "" ? undefined : input.value;
  };
  return { element, input, problem, value, name: field.name, label: field.label || field.name, required: Boolean(field.required) };
}

// ---------------------------------------------------------------- start

let toastTimer = 0;
function toast(words) {
  $("toast").textContent = words;
  $("toast").classList.add("up");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $("toast").classList.remove("up"), 4000);
}

for (const tab of document.querySelectorAll("[data-view]")) {
  tab.addEventListener("click", () => { state.view = tab.dataset.view; drawList(); });
}
$("channel").addEventListener("change", () => { state.channel = $("channel").value; drawList(); });
window.addEventListener("hashchange", route);
refresh().then(route);
setInterval(() => { if (!document.hidden) refresh(); }, EVERY);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
