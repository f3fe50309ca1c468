// BERT's tokenizer from a tokenizer.json: normalizer, words, WordPiece, marks at both ends.
//
// Letters are lowered one code point at a time, as Hugging Face's tokenizers do: a final capital sigma becomes σ, where
// String.toLowerCase makes ς. What a character is, is asked of this platform's Unicode tables. Theirs are older: they
// keep combining marks, and do not split at punctuation, that Unicode got after version 9 (of scripts no vocabulary has).
//
// Sources: Devlin et al. 2019, "BERT"; Wu et al. 2016, "Google's Neural Machine Translation System" (WordPiece).

import { BundleError, UnsupportedError } from './errors.js';

const SPACE = /\p{White_Space}/u;
const OTHER = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/u;
const MARK = /\p{Mn}/u;
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/u;
const IDEOGRAPHS = [
  [0x3400, 0x4dbf], [0x4e00, 0x9fff], [0xf900, 0xfaff], [0x20000, 0x2a6df], [0x2a700, 0x2b73f], [0x2b740, 0x2b81f],
  [0x2b920, 0x2ceaf], [0x2f800, 0x2fa1f],
]; // prettier-ignore

/** A tokenizer of the text of a tokenizer.json. */
export class WordPiece {
  #vocabulary;
  #model;
  #normalizer;
  #special;
  #marks;
  #template;

  constructor(text) {
    let read;
    try {
      read = JSON.parse(text);
    } catch (error) {
      throw new BundleError(`tokenizer.json: damaged (${error.message}); copy the bundle again`);
    }
    const found = { model: read.model?.type, normalizer: read.normalizer?.type, pre_tokenizer: read.pre_tokenizer?.type };
    const wanted = { model: 'WordPiece', normalizer: 'BertNormalizer', pre_tokenizer: 'BertPreTokenizer' };
    for (const [part, name] of Object.entries(wanted)) {
      if (found[part] !== name) {
        throw new UnsupportedError(`tokenizer.json: ${part} ${found[part]}; this package has ${name} alone`);
      }
    }
    this.#model = read.model;
    this.#normalizer = read.normalizer;
    this.#vocabulary = new Map(Object.entries(read.model.vocab));
    const added = read.added_tokens ?? [];
    for (const token of added) {
      if (token.single_word || token.lstrip || token.rstrip || token.normalized) {
        throw new UnsupportedError(`tokenizer.json: added token ${token.content} is not matched as it is written`);
      }
    }
    this.#special = new Map(added.map((token) => [token.content, token.id]));
    const names = [...this.#special.keys()].sort((a, b) => b.length - a.length);
    const escaped = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    this.#marks = names.length ? new RegExp(`(${escaped.join('|')})`, 'u') : null;
    if (read.post_processor?.type !== 'TemplateProcessing') {
      throw new UnsupportedError(`tokenizer.json: post_processor ${read.post_processor?.type}; this package has TemplateProcessing alone`);
    }
    this.#template = read.post_processor;
  }

  /** `{ids, unknown}`: token ids with the marks at both ends, neither cut nor filled, and words without a token. */
  encode(text) {
    const inside = [];
    const unknown = [];
    for (const part of this.#marks ? text.split(this.#marks) : [text]) {
      if (this.#special.has(part)) inside.push(this.#special.get(part));
      else for (const word of this.#words(part)) inside.push(...this.#pieces(word, unknown));
    }
    const ids = this.#template.single.flatMap((piece) =>
      piece.Sequence ? inside : this.#template.special_tokens[piece.SpecialToken.id].ids,
    );
    return { ids, unknown: [...new Set(unknown)] };
  }

  #words(text) {
    const words = [];
    let word = '';
    const end = () => {
      if (word) words.push(word);
      word = '';
    };
    for (const c of this.#normal(text)) {
      if (SPACE.test(c)) end();
      else if (PUNCTUATION.test(c)) {
        end();
        words.push(c);
      } else word += c;
    }
    end();
    return words;
  }

  #normal(text) {
    const { clean_text: clean, handle_chinese_chars: apart, strip_accents: strip, lowercase } = this.#normalizer;
    let characters = Array.from(text);
    if (clean) characters = characters.map(cleaned);
    if (apart) characters = characters.map((c) => (isIdeograph(c) ? ` ${c} ` : c));
    if (strip ?? lowercase) characters = Array.from(characters.join('').normalize('NFD')).filter((c) => !MARK.test(c));
    else characters = Array.from(characters.join(''));
    return lowercase ? Array.from(characters.map((c) => c.toLowerCase()).join('')) : characters;
  }

  /** The longest known beginnings, one after the other; the mark of the unknown where there is none. */
  #pieces(word, unknown) {
    const { continuing_subword_prefix: prefix, max_input_chars_per_word: longest, unk_token: mark } = this.#model;
    const characters = Array.from(word);
    const found = [];
    for (let start = 0, end; start < characters.length; start = end) {
      let id;
      if (characters.length > longest) end = start;
      else for (end = characters.length; end > start; end--) {
        id = this.#vocabulary.get((start ? prefix : '') + characters.slice(start, end).join(''));
        if (id !== undefined) break;
      }
      if (end === start) {
        unknown.push(word);
        return [this.#vocabulary.get(mark)];
      }
      found.push(id);
    }
    return found;
  }
}

function cleaned(c) {
  if (c === '\t' || c === '\n' || c === '\r') return ' ';
  if (c === '\0' || c === '\ufffd' || OTHER.test(c)) return '';
  return SPACE.test(c) ? ' ' : c;
}

function isIdeograph(c) {
  const code = c.codePointAt(0);
  return IDEOGRAPHS.some(([first, last]) => first <= code && code <= last);
}
