#include "chunks/core/archive_exclude.h"

#include <cctype>
#include <optional>

#include <fmt/format.h>

namespace godwit::chunks {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

// The set that begins with '[' at `at`: whether `c` is in it, and where it ends; nothing when it has no end.
struct SetMatch {
  bool matches = false;
  std::size_t end = 0;
};

bool is_in_class(std::string_view name, unsigned char c) {
  if (name == "alnum") return std::isalnum(c) != 0;
  if (name == "alpha") return std::isalpha(c) != 0;
  if (name == "blank") return c == ' ' || c == '\t';
  if (name == "cntrl") return std::iscntrl(c) != 0;
  if (name == "digit") return std::isdigit(c) != 0;
  if (name == "graph") return std::isgraph(c) != 0;
  if (name == "lower") return std::islower(c) != 0;
  if (name == "print") return std::isprint(c) != 0;
  if (name == "punct") return std::ispunct(c) != 0;
  if (name == "space") return std::isspace(c) != 0;
  if (name == "upper") return std::isupper(c) != 0;
  if (name == "xdigit") return std::isxdigit(c) != 0;
  return false;
}

std::optional<SetMatch> match_set(std::string_view pattern, std::size_t at, unsigned char c) {
  std::size_t i = at + 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  bool found = false;
  for (bool first = true; i < pattern.size(); first = false) {
    if (pattern[i] == ']' && !first) return SetMatch{found != negated, i + 1};
    if (pattern[i] == '/') return std::nullopt;  // a set does not reach over a slash
    if (pattern.substr(i).starts_with("[:")) {
      const std::size_t end = pattern.find(":]", i + 2);
      if (end != kNone) {
        found = found || is_in_class(pattern.substr(i + 2, end - i - 2), c);
        i = end + 2;
        continue;
      }
    }
    if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
    const auto low = static_cast<unsigned char>(pattern[i++]);
    auto high = low;
    if (i + 1 < pattern.size() && pattern[i] == '-' && pattern[i + 1] != ']') {
      ++i;
      if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
      high = static_cast<unsigned char>(pattern[i++]);
    }
    found = found || (low <= c && c <= high);
  }
  return std::nullopt;
}

bool begins_name(std::string_view text, std::size_t at) {
  return at == 0 || text[at - 1] == '/';
}

// Whether the pattern's element at `p` takes the byte at `t`; moves `p` behind the element when it does. Not for '*'.
bool take_one(std::string_view pattern, std::size_t& p, std::string_view text, std::size_t t) {
  const char c = text[t];
  const bool is_wild_allowed = c != '/' && !(c == '.' && begins_name(text, t));
  if (pattern[p] == '?') {
    if (!is_wild_allowed) return false;
    ++p;
    return true;
  }
  if (pattern[p] == '[') {
    if (const std::optional<SetMatch> set = match_set(pattern, p, static_cast<unsigned char>(c))) {
      if (!set->matches || !is_wild_allowed) return false;
      p = set->end;
      return true;
    }
  }
  std::size_t literal = p;
  if (pattern[p] == '\\' && p + 1 < pattern.size()) ++literal;
  if (pattern[literal] != c) return false;
  p = literal + 1;
  return true;
}

std::string_view stripped(std::string_view line) {
  constexpr std::string_view kBlanks = " \t";
  const std::size_t first = line.find_first_not_of(kBlanks);
  if (first == kNone) return {};
  return line.substr(first, line.find_last_not_of(kBlanks) - first + 1);
}

}  // namespace

// Only the last '*' is ever taken back: all before it have found their place, the leftmost one.
bool glob_matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = kNone;    // behind the last '*'
  std::size_t star_taken = 0;  // up to where it has taken text
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      if (text[t] == '.' && begins_name(text, t)) return false;
      star = ++p;
      star_taken = t;
      continue;
    }
    if (p < pattern.size() && take_one(pattern, p, text, t)) {
      ++t;
      continue;
    }
    if (star == kNone || text[star_taken] == '/') return false;
    p = star;
    t = ++star_taken;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Result<ExcludeRules::Rule> ExcludeRules::parse_rule(std::string_view line) {
  Rule rule;
  if (line.starts_with('!')) {
    rule.keeps = true;
    line.remove_prefix(1);
  }
  rule.folders_only = line.ends_with('/');
  while (line.ends_with('/')) line.remove_suffix(1);
  rule.is_anchored = line.find('/') != kNone;
  while (!line.empty()) {
    const std::string_view part = line.substr(0, line.find('/'));
    line.remove_prefix(std::min(line.size(), part.size() + 1));
    if (part.empty()) continue;
    if (part == "." || part == "..") return fail(ErrorKind::invalid, "'.' and '..' cannot be parts of a pattern");
    if (!rule.pattern.empty()) rule.pattern += '/';
    rule.pattern += part;
  }
  if (rule.pattern.empty()) return fail(ErrorKind::invalid, "the pattern is empty");
  return rule;
}

Result<ExcludeRules> ExcludeRules::parse(std::string_view text) {
  if (text.size() > kExcludeFileSizeMax)
    return fail(ErrorKind::limit, fmt::format("{} bytes of patterns, more than {}", text.size(), kExcludeFileSizeMax));
  ExcludeRules rules;
  for (std::size_t number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    line = stripped(line.substr(0, line.find('\0')));
    if (line.empty() || line.starts_with('#')) continue;
    Result<Rule> rule = parse_rule(line);
    if (!rule) return fail(std::move(rule).error().within(fmt::format("line {}", number)));
    rules.rules_.push_back(std::move(*rule));
  }
  return rules;
}

ExcludeRules::Verdict ExcludeRules::judge(std::string_view path, bool is_folder) const {
  const std::size_t slash = path.rfind('/');
  const std::string_view name = slash == kNone ? path : path.substr(slash + 1);
  Verdict verdict = Verdict::none;
  for (const Rule& rule : rules_) {
    if (rule.folders_only && !is_folder) continue;
    if (!rule.keeps && verdict == Verdict::exclude) continue;
    if (!glob_matches(rule.pattern, rule.is_anchored ? path : name)) continue;
    if (rule.keeps) return Verdict::keep;
    verdict = Verdict::exclude;
  }
  return verdict;
}

}  // namespace godwit::chunks
