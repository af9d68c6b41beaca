// The panel of lecture 09: a review, its score word by word as two models read it, and what each word adds.
"use strict";

dlm.panels.sentiment = async place => {
  const {facts, read} = await dlm.models.sentiment();
  const {make, percent} = dlm;
  const WORDS = 60, LETTERS = 20000;                           // so much is shown word by word, so much is read at all

  const box = make("textarea",
    {id: "dlm-review", rows: "3", spellcheck: "false", dir: "auto", "aria-describedby": "dlm-said"});
  const samples = facts.samples.map(text => {
    const button = make("button", {type: "button"}, text);
    button.addEventListener("click", () => { box.value = text; show(); });
    return button;
  });
  const said = make("p", {class: "dlm-said", id: "dlm-said", role: "status"});
  const more = make("div");
  place.append(
    make("label", {for: "dlm-review"}, "Type a review of a film in English, or take one of these:"),
    make("div", {class: "dlm-row"}, ...samples), box, said, more);

  let waiting = 0;
  box.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(show, 150); });
  box.value = facts.samples[0];
  show();

  function show() {
    clearTimeout(waiting);
    const text = box.value.slice(0, LETTERS), found = read(text, WORDS);
    said.textContent = summary(found, box.value.length);
    more.replaceChildren(...(found.total ? [curves(found), table(found)] : []));
  }

  function summary({total, known, lstm, linear}, letters) {
    if (!total) return "There is no word here yet: type one.";
    const [against, friendly] = facts.classes;
    const verdict = score => `${percent(score)} for the film (${score > 0.5 ? friendly : against})`;
    const lines = [`The LSTM says ${verdict(lstm.score)}, the linear model ${verdict(linear.score)}.`];
    if (known.lstm < total || known.linear < total) {
      lines.push(`Of ${total} ${total === 1 ? "word" : "words and marks"} the LSTM knows ${known.lstm}, ` +
        `the linear model ${known.linear}.`);
    }
    if (!known.lstm || !known.linear) {
      lines.push("Who knows no word answers with the share of the class in training: there is nothing else to go by.");
    }
    if (letters > LETTERS) lines.push(`Only the first ${LETTERS.toLocaleString("en")} letters are read.`);
    if (total > facts.maxTokens) lines.push(`The LSTM reads the first ${facts.maxTokens.toLocaleString("en")} words.`);
    if (total > WORDS) lines.push(`The first ${WORDS} words are shown; what a word adds is shown for shorter texts.`);
    return lines.join(" ");
  }

  // The score after each word as two lines; the table holds the same numbers, so this is hidden from screen readers.
  function curves({tokens, lstm, linear}) {
    const width = Math.min(640, more.clientWidth || 640), height = 150, left = 54;
    const right = width - 12, top = 10, bottom = height - 12;
    const x = k => tokens.length > 1 ? left + 10 + k * (right - left - 20) / (tokens.length - 1) : (left + right) / 2;
    const y = score => bottom - score * (bottom - top);
    const svg = make("svg:svg", {viewBox: `0 0 ${width} ${height}`, class: "dlm-curves", "aria-hidden": "true"});
    for (const share of [0, 0.5, 1]) {
      svg.append(make("svg:line", {x1: left, x2: right, y1: y(share), y2: y(share), class: "dlm-level"}),
        make("svg:text", {x: left - 6, y: y(share) + 5, "text-anchor": "end"}, percent(share)));
    }
    for (const [name, scores] of [["lstm", lstm.after], ["linear", linear.after]]) {
      svg.append(make("svg:polyline", {points: scores.map((s, k) => `${x(k)},${y(s)}`).join(" "), class: `dlm-${name}`}));
      scores.forEach((s, k) => svg.append(name === "lstm"
        ? make("svg:circle", {cx: x(k), cy: y(s), r: 4, class: `dlm-${name}`})
        : make("svg:rect", {x: x(k) - 4, y: y(s) - 4, width: 8, height: 8, class: `dlm-${name}`})));
    }
    return make("div", {}, make("p", {class: "dlm-key", "aria-hidden": "true"},
      make("span", {class: "dlm-lstm"}, "●"), " LSTM ",
      make("span", {class: "dlm-linear"}, "■"), " linear model, score after each word"), svg);
  }

  function table({tokens, lstm, linear}) {
    const head = make("thead", {},
      make("tr", {}, make("th", {scope: "col", rowspan: "2"}, "word"),
        make("th", {scope: "colgroup", colspan: "2"}, "score after it"),
        ...(lstm.adds ? [make("th", {scope: "colgroup", colspan: "2"}, "what it adds")] : [])),
      make("tr", {}, ...(lstm.adds ? [1, 2] : [1]).flatMap(
        () => ["LSTM", "linear"].map(name => make("th", {scope: "col"}, name)))));
    const cell = (share, text) => {                            // blue for the film, orange against it, as in the lecture
      const tint = Math.min(1, Math.abs(share));
      const colour = share > 0 ? "86,180,233" : "230,159,0";
      return make("td", {style: `background: rgba(${colour},${(0.4 * tint).toFixed(3)})`}, text);
    };
    const signed = value => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
    const rows = tokens.map((token, k) => make("tr", {},
      make("th", {scope: "row", dir: "auto"}, token),
      ...[lstm, linear].map(({after}) => cell(2 * after[k] - 1, percent(after[k]))),
      ...(lstm.adds ? [lstm, linear].map(({adds}) => cell(adds[k] / 2, signed(adds[k]))) : [])));
    const caption = "Score: the probability of a review for the film, after each word as it is read." + (lstm.adds
      ? " What a word adds: the logit of the review less its logit without this word; above 0 it speaks for the film." : "");
    return make("table", {class: "dlm-table"}, make("caption", {}, caption), head, make("tbody", {}, ...rows));
  }
};
