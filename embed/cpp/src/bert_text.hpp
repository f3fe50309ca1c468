// What BERT's normaliser makes of text, and which characters are words of their own.
#pragma once

#include <string>
#include <string_view>

namespace gen3d {

// Cleaned, lower case, without accents, CJK characters with spaces around them. The text must be UTF-8.
// Marks that are no accents (Mc) keep their order, where Unicode would sort the few of them that have a class.
std::u32string normalised(std::string_view utf8);

bool is_punctuation(char32_t c);
bool is_space(char32_t c);

}  // namespace gen3d
