// BERT's tokenizer as a bundle's tokenizer.json describes it: normaliser, words, WordPiece, marks at both ends.
// Source: Devlin et al. 2018; Wu et al. 2016 (WordPiece); the file format of the package `tokenizers`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "json.hpp"
#include "result.hpp"

namespace gen3d {

class Tokenizer {
 public:
  // From the text of a tokenizer.json; `where` names it in errors. Refuses, by name, what it does not do.
  static Result<Tokenizer> parse(std::string_view text, const std::string& where);

  // Token ids of a prompt in UTF-8: the first mark, the words' pieces, the last mark. No padding, no truncation.
  Result<std::vector<int64_t>> ids(std::string_view prompt) const;

 private:
  void add_words(std::string_view text, std::vector<int64_t>& out) const;
  void add_word(const std::u32string& word, std::vector<int64_t>& out) const;

  std::unordered_map<std::string, int64_t> vocabulary_;
  std::vector<std::pair<std::string, int64_t>> marks_;  // texts that are a token wherever they stand
  std::vector<int64_t> before_, after_;
  std::string prefix_;
  int64_t unknown_ = 0;
  size_t longest_word_ = 100;
};

// Whether a text is empty or spaces alone.
bool is_blank(std::string_view utf8);

}  // namespace gen3d
