#include "tokenizer.hpp"

#include <algorithm>

#include "bert_text.hpp"
#include "utf8.hpp"

namespace gen3d {
namespace {

constexpr int64_t largest_id = 0x7fffffff;

bool is(const Json* object, std::string_view key, bool wanted) {
  const Json* found = object == nullptr ? nullptr : object->find(key);
  return found != nullptr && found->as_truth() == wanted;
}

// What of a tokenizer.json this library does not do, in words; empty for nothing.
std::string unsupported(const Json& file) {
  const Json *normalizer = file.find("normalizer"), *pre = file.find("pre_tokenizer"), *model = file.find("model"), *post = file.find("post_processor");
  if (text_of(model, "type") != "WordPiece") return "model " + json_quoted(text_of(model, "type"));
  if (text_of(normalizer, "type") != "BertNormalizer") return "normalizer " + json_quoted(text_of(normalizer, "type"));
  if (text_of(pre, "type") != "BertPreTokenizer") return "pre_tokenizer " + json_quoted(text_of(pre, "type"));
  if (text_of(post, "type") != "TemplateProcessing") return "post_processor " + json_quoted(text_of(post, "type"));
  const Json* accents = normalizer->find("strip_accents");
  const bool stripped = accents != nullptr && (accents->kind == Json::Kind::null || accents->as_truth() == true);
  if (!is(normalizer, "clean_text", true) || !is(normalizer, "handle_chinese_chars", true) || !is(normalizer, "lowercase", true) || !stripped)
    return "a normalizer that keeps case, accents or control characters";
  return "";
}

// Ids of the marks before and after the text itself.
bool take_marks(const Json& post, std::vector<int64_t>& before, std::vector<int64_t>& after) {
  const Json *single = post.find("single"), *special = post.find("special_tokens");
  if (single == nullptr || special == nullptr) return false;
  bool text_seen = false;
  for (const Json& part : single->items) {
    if (part.find("Sequence") != nullptr) {
      if (text_seen) return false;
      text_seen = true;
      continue;
    }
    const Json* mark = special->find(text_of(part.find("SpecialToken"), "id"));
    const Json* ids = mark == nullptr ? nullptr : mark->find("ids");
    if (ids == nullptr) return false;
    for (const Json& id : ids->items) {
      const auto value = id.as_integer();
      if (!value || *value < 0 || *value > largest_id) return false;
      (text_seen ? after : before).push_back(*value);
    }
  }
  return text_seen;
}

}  // namespace

Result<Tokenizer> Tokenizer::parse(std::string_view text, const std::string& where) {
  const auto file = parse_json(text);
  if (!file) return verification_error(where + ": no tokenizer can be made of it (" + file.error().message + "); copy it again");
  if (const std::string what = unsupported(*file); !what.empty())
    return Error{Code::missing, where + ": " + what + " is not done here; run this bundle with gen3dexport"};
  const Error wrong = verification_error(where + ": no tokenizer can be made of it (vocabulary, marks or added tokens are missing); copy it again");
  Tokenizer made;
  const Json &model = *file->find("model"), *vocabulary = model.find("vocab");
  if (vocabulary == nullptr || vocabulary->members.empty()) return wrong;
  made.vocabulary_.reserve(vocabulary->members.size());
  for (const auto& [token, id] : vocabulary->members) {
    const auto value = id.as_integer();
    if (!value || *value < 0 || *value > largest_id) return wrong;
    made.vocabulary_.emplace(token, *value);
  }
  const auto unknown = made.vocabulary_.find(text_of(&model, "unk_token"));
  if (unknown == made.vocabulary_.end()) return wrong;
  made.unknown_ = unknown->second;
  made.prefix_ = text_of(&model, "continuing_subword_prefix");
  if (const Json* most = model.find("max_input_chars_per_word")) made.longest_word_ = static_cast<size_t>(std::clamp<int64_t>(most->as_integer().value_or(100), 1, 10000));
  if (!take_marks(*file->find("post_processor"), made.before_, made.after_)) return wrong;
  if (const Json* added = file->find("added_tokens")) {
    for (const Json& token : added->items) {
      const Json* id = token.find("id");
      const std::string content = text_of(&token, "content");
      if (id == nullptr || !id->as_integer() || content.empty()) return wrong;
      if (!is(&token, "single_word", false) || !is(&token, "lstrip", false) || !is(&token, "rstrip", false) || !is(&token, "normalized", false))
        return Error{Code::missing, where + ": added token " + json_quoted(content) + " takes more than its own text, which is not done here; run this bundle with gen3dexport"};
      made.marks_.emplace_back(content, *id->as_integer());
    }
  }
  return made;
}

Result<std::vector<int64_t>> Tokenizer::ids(std::string_view prompt) const {
  if (!is_utf8(prompt)) return usage_error("prompt: no UTF-8 text; give it in UTF-8");
  std::vector<int64_t> out = before_;
  while (!prompt.empty()) {  // the first mark in the text, the longest of those that begin there
    size_t first = prompt.size();
    const std::pair<std::string, int64_t>* mark = nullptr;
    for (const auto& one : marks_) {
      const size_t at = prompt.find(one.first);
      if (at == std::string_view::npos) continue;
      if (at < first || (at == first && one.first.size() > mark->first.size())) first = at, mark = &one;
    }
    add_words(prompt.substr(0, first), out);
    if (mark == nullptr) break;
    out.push_back(mark->second);
    prompt.remove_prefix(first + mark->first.size());
  }
  out.insert(out.end(), after_.begin(), after_.end());
  return out;
}

void Tokenizer::add_words(std::string_view text, std::vector<int64_t>& out) const {
  std::u32string word;
  const auto end_word = [&] {
    if (!word.empty()) add_word(word, out);
    word.clear();
  };
  for (const char32_t c : normalised(text)) {
    if (is_space(c)) {
      end_word();
    } else if (is_punctuation(c)) {
      end_word();
      word = c;
      end_word();
    } else {
      word += c;
    }
  }
  end_word();
}

void Tokenizer::add_word(const std::u32string& word, std::vector<int64_t>& out) const {
  if (word.size() > longest_word_) {
    out.push_back(unknown_);
    return;
  }
  std::vector<int64_t> pieces;
  for (size_t begin = 0; begin < word.size();) {
    std::vector<std::string> texts;  // of the piece to each end
    std::string piece = begin > 0 ? prefix_ : "";
    for (size_t end = begin; end < word.size(); ++end) {
      append_utf8(piece, word[end]);
      texts.push_back(piece);
    }
    auto found = vocabulary_.end();
    while (!texts.empty() && (found = vocabulary_.find(texts.back())) == vocabulary_.end()) texts.pop_back();
    if (texts.empty()) {
      out.push_back(unknown_);
      return;
    }
    pieces.push_back(found->second);
    begin += texts.size();
  }
  out.insert(out.end(), pieces.begin(), pieces.end());
}

bool is_blank(std::string_view utf8) {
  for (size_t at = 0; at < utf8.size();)
    if (!is_space(next_code_point(utf8, at))) return false;
  return true;
}

}  // namespace gen3d
