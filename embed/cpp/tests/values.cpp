// JSON, digests, names of files, noise, tokens, arrays.
#include <cmath>
#include <cstdlib>

#include "bert_text.hpp"
#include "check.hpp"
#include "files.hpp"
#include "flow.hpp"
#include "json.hpp"
#include "noise.hpp"
#include "npy.hpp"
#include "sha256.hpp"
#include "tokenizer.hpp"
#include "utf8.hpp"

using namespace gen3d;

void test_json() {
  const std::string written = "{\n \"b\": [],\n \"a\": {},\n \"n\": [\n  1,\n  -0.5,\n  1e-07\n ],\n \"t\": \"\\u00e9\\\"\\n\\ud83e\\ude91\"\n}\n";
  const auto value = parse_json(written);
  CHECK(value);
  CHECK(json_text(*value, true) + "\n" == written);
  CHECK(json_text(*value, false) == "{\"b\":[],\"a\":{},\"n\":[1,-0.5,1e-07],\"t\":\"\\u00e9\\\"\\n\\ud83e\\ude91\"}");
  CHECK(value->find("t")->as_text() == "\xc3\xa9\"\n\xf0\x9f\xaa\x91");
  CHECK(value->find("n")->items[0].as_integer() == 1 && !value->find("n")->items[1].as_integer());
  CHECK(value->find("n")->items[2].as_number() == 1e-07);
  for (const char* wrong : {"", "{", "[1,]", "{\"a\":1,\"a\":2}", "01", "+1", "1.", ".5", "1e", "nul", "\"\\x\"", "\"\\ud800\"", "\"\\udc00\"", "\"\t\"", "\"\xff\"",
                            "[1] 2", "{\"a\" 1}", "{1:2}", "NaN", "Infinity", "\"a", "[", "\"\\u12\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\""})
    CHECK(!parse_json(wrong));
  CHECK(!parse_json(std::string(100000, '[')));
  CHECK(!parse_json("1" + std::string(1000, '0')));
  CHECK(!parse_json("99999999999999999999")->as_integer() && !parse_json("1e999")->as_number());
  const std::pair<double, const char*> numbers[] = {{0, "0.0"},           {-0.5, "-0.5"},       {1e16, "1e+16"},   {123456789012345680, "1.2345678901234568e+17"},
                                                    {0.0001, "0.0001"},   {1e-5, "1e-05"},      {100, "100.0"},    {-0.24624982476234436, "-0.24624982476234436"},
                                                    {1e100, "1e+100"},    {1.5e300, "1.5e+300"}, {12.5, "12.5"},    {9007199254740993, "9007199254740992.0"}};
  for (const auto& [number, text] : numbers) CHECK(python_number(number) == text);
}

void test_digests() {
  CHECK(sha256("", 0) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc", 3) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", million(1000000, 'a');
  CHECK(sha256(two.data(), two.size()) == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(million.data(), million.size()) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

void test_paths() {
  for (const char* good : {"a", "programs/flow.pte", "a/b/c.d", ".hidden", "..a/b"}) CHECK(is_plain_path(good));
  for (const char* wrong : {"", "/a", "a/", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a\\b", "c:a", "a\nb"}) CHECK(!is_plain_path(wrong));
}

void test_noise() {
  // numpy.random.default_rng(0).standard_normal(3, dtype=float32), and SHA-256 of the bytes of 100 000 numbers
  const auto first = Noise(0).normal(3);
  CHECK(first[0] == 1.117622f && first[1] == -1.3871249f && first[2] == -0.4265716f);
  const std::pair<uint64_t, const char*> digests[] = {{0, "57862fc1e41bfb2afcc0209d4b0894d283a5d4efbfa667e8df1e9ea7f55c9747"}, {42, "493feea7ef261611e6989a768512431d17ba90fb5c47cc7ca58d351577cb80a4"}, {(uint64_t{1} << 63) - 1, "6e13dc894668901337ddbfbf65033c15c06ee8b82ca56c9ad43adaae3ca7aef7"}};
  for (const auto& [seed, digest] : digests) {
    const auto numbers = Noise(seed).normal(100000);
    CHECK(sha256(numbers.data(), numbers.size() * sizeof(float)) == digest);
  }
}

namespace {

std::string tokenizer_json(const std::string& normalizer) {
  return "{\"added_tokens\": [{\"id\": 2, \"content\": \"[SEP]\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false}],"
         "\"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": true, \"handle_chinese_chars\": true, \"strip_accents\": null, \"lowercase\": " +
         normalizer +
         "}, \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
         "[{\"SpecialToken\": {\"id\": \"[CLS]\"}}, {\"Sequence\": {\"id\": \"A\"}}, {\"SpecialToken\": {\"id\": \"[SEP]\"}}], \"special_tokens\": "
         "{\"[CLS]\": {\"ids\": [1]}, \"[SEP]\": {\"ids\": [2]}}}, \"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", "
         "\"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 10, \"vocab\": "
         "{\"[UNK]\": 0, \"[CLS]\": 1, \"[SEP]\": 2, \"cafe\": 3, \"##s\": 4, \"!\": 5, \"\\u6905\": 6, \"a\": 7, \"##a\": 8}}}";
}

}  // namespace

void test_tokens() {
  const auto tokenizer = Tokenizer::parse(tokenizer_json("true"), "tokenizer.json");
  CHECK(tokenizer);
  const auto ids = [&](const char* text) { return *tokenizer->ids(text); };
  using Ids = std::vector<int64_t>;
  CHECK(ids("") == (Ids{1, 2}));
  CHECK(ids("Caf\xc3\xa9s! CAFE\xcc\x81") == (Ids{1, 3, 4, 5, 3, 2}));          // accents, upper case, punctuation
  CHECK(ids("cafe\xe6\xa4\x85" "cafe") == (Ids{1, 3, 6, 3, 2}));                // a CJK character is a word
  CHECK(ids("a[SEP]a") == (Ids{1, 7, 2, 7, 2}));                                // a mark in the text
  CHECK(ids("aaaaaaaaaa aaaaaaaaaaa b") == (Ids{1, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 0, 0, 2}));
  CHECK(!tokenizer->ids("\xff"));
  CHECK(is_blank(" \t\xe3\x80\x80") && !is_blank(" a"));
  const auto cased = Tokenizer::parse(tokenizer_json("false"), "tokenizer.json");
  CHECK(!cased && cased.error().code == Code::missing);
  for (const char* damaged : {"{}", "[]", "{\"model\": {\"type\": \"BPE\"}}", "x"}) CHECK(!Tokenizer::parse(damaged, "tokenizer.json"));
  CHECK(normalised("\xea\xb0\x81").size() == 3);  // a syllable of three letters
}

void test_arrays() {
  const Array a = Array::of({2, 1, 2}, std::vector<float>{1, 2, 3, 4}), b = Array::of({2, 1, 2}, std::vector<float>{5, 6, 7, 8});
  CHECK(joined(a, b, 0).floats == (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}) && joined(a, b, 0).shape == (Shape{4, 1, 2}));
  CHECK(joined(a, b, 1).floats == (std::vector<float>{1, 2, 5, 6, 3, 4, 7, 8}) && joined(a, b, 1).shape == (Shape{2, 2, 2}));
  CHECK(joined(a, b, 2).floats == (std::vector<float>{1, 2, 5, 6, 3, 4, 7, 8}) && joined(a, b, 2).shape == (Shape{2, 1, 4}));
  CHECK(elements({}) == 1 && elements({3, 0}) == 0 && elements({-1}) == -1 && elements({1 << 30, 1 << 30}) == -1);
  for (const Array& array : {a, Array::of({3}, std::vector<int64_t>{-1, 0, 1}), Array::of({0, 3}, std::vector<float>{})}) {
    CHECK(write_atomically("array.npy", npy_content(array)));
    const auto again = read_npy("array.npy");
    CHECK(again && again->shape == array.shape && again->floats == array.floats && again->integers == array.integers);
  }
  const std::string whole = npy_content(a);
  for (size_t length = 0; length < whole.size(); length += 7) {
    CHECK(write_atomically("array.npy", whole.substr(0, length)));
    CHECK(!read_npy("array.npy"));
  }
}
