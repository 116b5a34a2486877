// `.caexclude`: which nodes a writer leaves out. A line is a glob; '#' begins a comment, blanks around a line are dropped; a '/'
// inside ties the pattern to the file's own folder, a '/' at the end to folders; '!' keeps what matches, whatever another line
// says, in this file or in one further up or down. Source: casync.md 7 and tests against the original program.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace godwit::chunks {

inline constexpr std::string_view kExcludeFileName = ".caexclude";
inline constexpr std::size_t kExcludeFileSizeMax = std::size_t{1} << 20;

// Shell globs as fnmatch has them with FNM_PATHNAME and FNM_PERIOD: '*', '?', sets, '\' to quote; no wildcard matches a '/', nor
// a '.' where a name begins. Time: the product of both lengths at most.
bool glob_matches(std::string_view pattern, std::string_view text);

class ExcludeRules {
 public:
  // ErrorKind::invalid with the line's number for a pattern that names nothing: "!", "/", or one with "." or ".." as a part;
  // ErrorKind::limit above kExcludeFileSizeMax.
  static Result<ExcludeRules> parse(std::string_view text);

  enum class Verdict { none, exclude, keep };
  // `path` is relative to the rules' folder, "a/b";
  // patterns without a slash look at its last part only.
  Verdict judge(std::string_view path, bool is_folder) const;
  bool empty() const { return rules_.empty(); }

 private:
  struct Rule {
    std::string pattern;  // without leading, doubled and trailing slashes
    bool is_anchored = false;
    bool folders_only = false;
    bool keeps = false;
  };
  static Result<Rule> parse_rule(std::string_view line);
  std::vector<Rule> rules_;
};

}  // namespace godwit::chunks
