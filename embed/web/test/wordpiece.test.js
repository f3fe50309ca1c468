import assert from 'node:assert/strict';
import test from 'node:test';

import { WordPiece } from '../src/index.js';
import { json, needed, text } from './fixtures.js';

const SMALL = {
  added_tokens: [{ id: 0, content: '[UNK]' }, { id: 1, content: '[CLS]' }, { id: 2, content: '[SEP]' }],
  normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '[CLS]' } }, { Sequence: { id: 'A' } }, { SpecialToken: { id: '[SEP]' } }],
    special_tokens: { '[CLS]': { ids: [1] }, '[SEP]': { ids: [2] } },
  },
  model: {
    type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 100,
    vocab: { '[UNK]': 0, '[CLS]': 1, '[SEP]': 2, chair: 3, '##s': 4, tall: 5, '-': 6 },
  },
}; // prettier-ignore

const small = (changes = {}) => new WordPiece(JSON.stringify({ ...SMALL, ...changes }));

test('the longest known beginning is taken, and what no piece has is told', () => {
  assert.deepEqual(small().encode('Tall-chairs lamp'), { ids: [1, 5, 6, 3, 4, 0, 2], unknown: ['lamp'] });
  assert.deepEqual(small().encode(''), { ids: [1, 2], unknown: [] });
  assert.deepEqual(small().encode('tall[SEP]tall').ids, [1, 5, 2, 5, 2]);
});

test('ids are those of the tokenizers library', needed, () => {
  const tokenizer = new WordPiece(text('tokenizer.json'));
  const cases = json('tokens.json');
  assert.ok(cases.length > 1000);
  for (const [words, ids] of cases) assert.deepEqual(tokenizer.encode(words).ids, ids, JSON.stringify(words));
});

test('other tokenizers are refused by name', () => {
  assert.throws(() => small({ model: { type: 'BPE' } }), { name: 'UnsupportedError', message: /model BPE/ });
  assert.throws(() => small({ normalizer: null }), { name: 'UnsupportedError', message: /normalizer undefined/ });
  assert.throws(() => small({ post_processor: { type: 'ByteLevel' } }), { name: 'UnsupportedError', message: /ByteLevel/ });
  const odd = { added_tokens: [{ id: 9, content: '<x>', lstrip: true }] };
  assert.throws(() => small(odd), { name: 'UnsupportedError', message: /<x>/ });
  assert.throws(() => new WordPiece('{'), { name: 'BundleError' });
});
