#include "chunks/core/archive_exclude.h"

#include <gtest/gtest.h>

namespace godwit::chunks {
namespace {

TEST(ArchiveExclude, GlobsMatchAsInAShell) {
  struct Row {
    const char* pattern;
    const char* text;
    bool matches;
  };
  for (const Row& row : {
           Row{"*.o", "x.o", true},
           Row{"*.o", ".h.o", false},
           Row{".*", ".h", true},
           Row{"?h", ".h", false},
           Row{"[.]*", ".h", false},
           Row{"x*", "x", true},
           Row{"a*b*c", "a-b-b-c", true},
           Row{"a*b*c", "a-b-b-", false},
           Row{"a/*", "a/b", true},
           Row{"a/*", "a/b/c", false},
           Row{"*/x", "a/x", true},
           Row{"*/x", "a/b/x", false},
           Row{"a/*", "a/.b", false},
           Row{"st\\*r", "st*r", true},
           Row{"st\\*r", "stxr", false},
           Row{"[[]b]", "[b]", true},
           Row{"[xy].[co]", "y.c", true},
           Row{"[!x].o", "c.o", true},
           Row{"[^x].o", "x.o", false},
           Row{"[a-c]", "b", true},
           Row{"[a-c]", "d", false},
           Row{"[]]", "]", true},
           Row{"[z-", "[z-", true},
           Row{"*.[[:upper:]]", "x.O", true},
           Row{"*.[[:upper:]]", "x.o", false},
           Row{"[a-]", "-", true},
           Row{"", "", true},
           Row{"**", "abc", true},
           Row{"*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
           Row{"back\\\\s", "back\\s", true},
           Row{"\\", "\\", true},
           Row{"a?c", "a/c", false},
           Row{"a[/]c", "a/c", false},
       })
    EXPECT_EQ(glob_matches(row.pattern, row.text), row.matches) << row.pattern << " and " << row.text;
}

TEST(ArchiveExclude, LinesMeanWhatTheOriginalMakesOfThem) {
  using Verdict = ExcludeRules::Verdict;
  struct Row {
    const char* rules;
    const char* path;
    bool is_folder;
    Verdict verdict;
  };
  for (const Row& row : {
           Row{"*.o\n", "x.o", false, Verdict::exclude},
           Row{"*.o\n", "sub/deep/x.o", false, Verdict::exclude},
           Row{"sub/x.o", "sub/x.o", false, Verdict::exclude},
           Row{"sub/x.o", "other/sub/x.o", false, Verdict::none},
           Row{"/x.o", "x.o", false, Verdict::exclude},
           Row{"/x.o", "sub/x.o", false, Verdict::none},
           Row{"sub//x.o", "sub/x.o", false, Verdict::exclude},
           Row{"a/", "a", true, Verdict::exclude},
           Row{"a/", "a", false, Verdict::none},
           Row{"a/", "sub/a", true, Verdict::exclude},
           Row{"sub/deep/", "sub/deep", true, Verdict::exclude},
           Row{"*.o\n!x.o\n", "x.o", false, Verdict::keep},
           Row{"!x.o\n*.o\n", "x.o", false, Verdict::keep},
           Row{"*.o\n!deep/x.o\n", "sub/deep/x.o", false, Verdict::exclude},
           Row{"*.o\n!*.o/\n", "x.o", false, Verdict::exclude},
           Row{"# x.o\n\n", "x.o", false, Verdict::none},
           Row{"\\#hash", "#hash", false, Verdict::exclude},
           Row{"\\!bang", "!bang", false, Verdict::exclude},
           Row{"trail \n", "trail", false, Verdict::exclude},
           Row{"\t trail\t\n", "trail", false, Verdict::exclude},
           Row{"x.o\r\n", "x.o", false, Verdict::none},
           Row{"last", "last", false, Verdict::exclude},
       }) {
    const Result<ExcludeRules> rules = ExcludeRules::parse(row.rules);
    ASSERT_TRUE(rules) << row.rules << rules.error().message();
    EXPECT_EQ(rules->judge(row.path, row.is_folder), row.verdict) << row.rules << " of " << row.path;
  }
}

TEST(ArchiveExclude, APatternThatNamesNothingIsAnErrorWithItsLine) {
  for (const char* line : {".", "..", "./x.o", "a/../b", "!", "/", "!/"}) {
    const Result<ExcludeRules> rules = ExcludeRules::parse(std::string("ok\n") + line + "\n");
    ASSERT_FALSE(rules) << line;
    EXPECT_EQ(rules.error().kind(), ErrorKind::invalid);
    EXPECT_TRUE(rules.error().message().starts_with("line 2")) << rules.error().message();
  }
  EXPECT_EQ(ExcludeRules::parse(std::string(kExcludeFileSizeMax + 1, 'x')).error().kind(), ErrorKind::limit);
}

}  // namespace
}  // namespace godwit::chunks
