/* Texts as token ids, by Hugging Face's tokenizers, and tokens in the colours of their values. */
import { element } from "./dom.js";
import { signed } from "./numbers.js";

const special = (id, content) =>
  ({ id, content, special: true, single_word: false, lstrip: false, rstrip: false, normalized: false });

/* What a BERT vocabulary, one token a line, stands for as a tokenizer.json. */
export function wordPiece(lines) {
  const vocab = Object.fromEntries(lines.map((token, id) => [token, id]));
  const [first, last] = ["[CLS]", "[SEP]"].map((id) => ({ SpecialToken: { id, type_id: 0 } }));
  const specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].filter((token) => token in vocab);
  return {
    added_tokens: specials.map((token) => special(vocab[token], token)),
    normalizer: {
      type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing", single: [first, { Sequence: { id: "A", type_id: 0 } }, last],
      special_tokens: Object.fromEntries(["[CLS]", "[SEP]"].map((token) =>
        [token, { id: token, ids: [vocab[token]], tokens: [token] }])),
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##",
      max_input_chars_per_word: 100, vocab,
    },
  };
}

export class TextTokenizer {
  static async from(json) {
    const { Tokenizer } = await import("../vendor/tokenizers.min.mjs");
    return new TextTokenizer(new Tokenizer(json, {}), json);
  }

  constructor(tokenizer, json) {
    this.tokenizer = tokenizer;
    this.specials = new Set((json.added_tokens ?? []).filter((t) => t.special).map((t) => t.content));
    this.padding = (json.added_tokens ?? []).find((t) => /pad/i.test(t.content))?.id ?? 0;
  }

  /* At most `room` tokens; of longer texts the end is left out, but for the last special token. */
  encode(text, room) {
    const { ids, tokens } = this.tokenizer.encode(text);
    const found = ids.map((id, i) => ({ id, text: tokens[i], special: this.specials.has(tokens[i]) }));
    if (found.length > room) {
      const end = found.at(-1).special ? [found.at(-1)] : [];
      return [...found.slice(0, room - end.length), ...end];
    }
    return found;
  }
}

/* A piece that goes on a word is written without its mark, close to the piece before. */
const written = (text) => text.replace(/^##/, "").replace(/^[▁Ġ]/, "");

export function tokenView(tokens, values) {
  const most = Math.max(...tokens.map((_, i) => Math.abs(values[i])), 1e-12);
  const list = element("ol", { class: "token-list", "aria-label": "Tokens and their SHAP values" });
  tokens.forEach(({ text, special: marked }, i) => {
    const item = element("li", {
      class: [values[i] < 0 ? "against" : "for", text.startsWith("##") && "joined", marked && "marked"]
        .filter(Boolean).join(" "),
    }, element("span", {}, written(text)), element("small", {}, signed(values[i])));
    item.style.setProperty("--strength", (Math.abs(values[i]) / most).toFixed(3));
    list.append(item);
  });
  return list;
}
