// Lecture 09's two classifiers of reviews, as helpers/sentiment computes them: an LSTM that reads, a linear model that
// counts words and bigrams. A score is the probability of "for", the sigmoid of a logit.
"use strict";

{
  const sigmoid = x => 1 / (1 + Math.exp(-x));
  const UNKNOWN = 1;                                           // an embedding's row; row 0 is padding

  // y = W x + b; W has rows of x.length numbers, one after the other
  function affine(W, x, b, y) {
    const size = x.length;
    for (let row = 0, at = 0; row < y.length; row++, at += size) {
      let a = 0, c = 0;                                        // two sums: the processor adds them side by side
      for (let k = 0; k < size; k += 2) {
        a += W[at + k] * x[k];
        c += W[at + k + 1] * x[k + 1];
      }
      y[row] = a + c + b[row];
    }
    return y;
  }

  // ------------------------------------------------------------ from text to tokens (helpers/sentiment/text.py)
  const tokenizer = pattern => {
    const word = new RegExp(pattern, "gu");
    return text => text.normalize("NFC").toLowerCase().replaceAll("’", "'").match(word) ?? [];
  };

  // ------------------------------------------------------------ the LSTM (helpers/sentiment/readers.py)
  class Lstm {
    constructor(arrays) {
      for (const name of ["embedding", "w_ih", "w_hh", "head"]) this[name] = Float64Array.from(arrays[name]);
      this.hidden = arrays.b_hh.length / 4;                    // H
      this.width = arrays.w_ih.length / arrays.b_ih.length;    // E
      this.bias = Float64Array.from(arrays.b_ih, (b, k) => b + arrays.b_hh[k]);
      this.headBias = arrays.head_bias[0];
      this.nothing = new Float64Array(4 * this.hidden);
    }

    // the part of the gates that only the word decides: W_ih x + b, (4H,)
    word(id) {
      const x = this.embedding.subarray(id * this.width, (id + 1) * this.width);
      return affine(this.w_ih, x, this.bias, new Float64Array(4 * this.hidden));
    }

    start() {
      const H = this.hidden;
      return {
        h: new Float64Array(H), c: new Float64Array(H), n: 0,
        sum: new Float64Array(H), top: new Float64Array(H).fill(-Infinity),       // for the mean and the maximum
      };
    }

    // one word more: the state after it, a new one
    step(state, word) {
      const H = this.hidden, gates = affine(this.w_hh, state.h, word, new Float64Array(4 * H));
      const next = this.start();
      next.n = state.n + 1;
      for (let k = 0; k < H; k++) {                            // input, forget, candidate, output: PyTorch's order
        const c = sigmoid(gates[H + k]) * state.c[k] + sigmoid(gates[k]) * Math.tanh(gates[2 * H + k]);
        const h = sigmoid(gates[3 * H + k]) * Math.tanh(c);
        next.c[k] = c;
        next.h[k] = h;
        next.sum[k] = state.sum[k] + h;
        next.top[k] = Math.max(state.top[k], h);
      }
      return next;
    }

    // pooling by the last state, the mean and the maximum, then one linear layer
    logit(state) {
      const H = this.hidden, {head} = this;
      let y = this.headBias;
      for (let k = 0; k < H; k++) {
        y += head[k] * state.h[k];
        if (state.n) y += head[H + k] * state.sum[k] / state.n + head[2 * H + k] * state.top[k];
      }
      return y;
    }

    // the states after 0, 1, ... of these words
    states(words) {
      const states = [this.start()];
      for (const word of words) states.push(this.step(states.at(-1), word));
      return states;
    }
  }

  // ------------------------------------------------------------ the linear model (helpers/sentiment/ngrams.py)
  class Linear {
    constructor(arrays, bias, size) {
      this.weight = arrays.weight;
      this.idf = arrays.idf;
      this.bias = bias;
      this.size = size;                                        // tokens; a term's number: tokens first, then bigrams
      this.bigrams = new Map();                                // first * size + second -> the term's number
      const code = arrays.bigrams;
      let at = 0;
      const next = () => {                                     // seven bits a byte, the lowest first
        let n = 0, shift = 0, byte;
        do { byte = code[at++]; n |= (byte & 127) << shift; shift += 7; } while (byte > 127);
        return n;
      };
      const counts = Array.from({length: size}, next);
      let term = size;
      counts.forEach((count, first) => {
        for (let k = 0, second = 0; k < count; k++) this.bigrams.set(first * size + (second += next()), term++);
      });
    }

    // TF-IDF of length 1, in which a term counts once, times the weights; ids: numbers of tokens, -1 for unknown ones
    logit(ids) {
      const terms = new Set();
      ids.forEach((id, k) => {
        if (id >= 0) terms.add(id);
        const both = k > 0 && id >= 0 && ids[k - 1] >= 0 ? this.bigrams.get(ids[k - 1] * this.size + id) : undefined;
        if (both !== undefined) terms.add(both);
      });
      let product = 0, square = 0;
      for (const term of terms) {
        product += this.idf[term] * this.weight[term];
        square += this.idf[term] ** 2;
      }
      return terms.size ? product / Math.sqrt(square) + this.bias : this.bias;
    }
  }

  // ------------------------------------------------------------ both
  let ready = null;                                            // {facts, read}, made once
  dlm.models.sentiment = () => ready ??= make();

  async function make() {
    const {facts, arrays} = await dlm.unpack("sentiment");
    const tokens = arrays.tokens.split("\n"), place = new Map(tokens.map((token, k) => [token, k]));
    const row = new Map(Array.from(arrays.known, (token, k) => [token, k + 2]));   // of the LSTM's embedding
    const words = tokenizer(facts.word), lstm = new Lstm(arrays), linear = new Linear(arrays, facts.bias, tokens.length);
    const {priors, maxTokens} = facts;
    const count = known => {                                   // how many after 0, 1, ... words
      const sums = [0];
      for (const is of known) sums.push(sums.at(-1) + is);
      return sums;
    };

    // What both say of a text: the score of all of it and, for its first `shown` words, the score after each of them;
    // `adds`: the logit less the logit without the word, for texts of 2 to `shown` words.
    function read(text, shown) {
      const all = words(text), numbers = all.map(token => place.get(token) ?? -1);
      const rows = numbers.map(number => row.get(number) ?? UNKNOWN);
      const first = all.slice(0, shown), whole = all.length <= shown && all.length > 1;

      const vectors = rows.slice(0, maxTokens).map(id => lstm.word(id)), states = lstm.states(vectors);
      const knownLstm = count(rows.slice(0, maxTokens).map(id => id > UNKNOWN)), knownLinear = count(numbers.map(n => n >= 0));
      const scoreLstm = k => knownLstm[k] ? sigmoid(lstm.logit(states[k])) : priors.lstm;
      const scoreLinear = k => knownLinear[k] ? sigmoid(linear.logit(numbers.slice(0, k))) : priors.linear;
      const logitLstm = lstm.logit(states.at(-1)), logitLinear = linear.logit(numbers);
      const without = k => vectors.slice(k + 1).reduce((state, word) => lstm.step(state, word), states[k]);

      return {
        tokens: first,
        total: all.length,
        known: {lstm: knownLstm.at(-1), linear: knownLinear.at(-1)},
        lstm: {
          score: scoreLstm(vectors.length),
          after: first.map((_, k) => scoreLstm(k + 1)),
          adds: whole ? first.map((_, k) => logitLstm - lstm.logit(without(k))) : null,
        },
        linear: {
          score: scoreLinear(all.length),
          after: first.map((_, k) => scoreLinear(k + 1)),
          adds: whole ? first.map((_, k) => logitLinear - linear.logit(numbers.filter((_, i) => i !== k))) : null,
        },
      };
    }
    return {facts, read};
  }
}
