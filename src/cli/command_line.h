// The program's command line: groups, verbs and options. CLI11 reads it; only command_line.cc sees that library, because each
// file that does takes a quarter of a minute to compile.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace godwit::cli {

// One option or operand; a handle, valid as long as its CommandLine.
class Option {
 public:
  explicit Option(CLI::Option& option) : option_(&option) {}
  Option& required();
  Option& show_default();               // the value that the variable has now, in --help
  Option& one_each();                   // each takes one value; said again, it adds another
  Option& type_name(const char* text);  // of the value, in --help
  Option& positive();                   // refused unless it is a number above zero
  Option& between(int low, int high);   // both included

 private:
  CLI::Option* option_;
};

// The program, a group or a verb; a handle, valid as long as its CommandLine.
class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}
  // Options of what is above may be said behind either. A group needs one of its verbs.
  Command add_group(const std::string& name, const std::string& about);
  Command add_verb(const std::string& name, const std::string& about);
  // `name` is "--long", "-s,--long", or a word for an operand. `value` is set when the line is parsed and outlives that. T is a
  // string, a bool, one of the numbers that command_line.cc lists, an optional of those, or a vector of strings.
  template <class T>
  Option add_option(const std::string& name, T& value, const std::string& about);
  void add_flag(const std::string& name, bool& value, const std::string& about);
  void require_verb();
  void footer(const std::string& text);
  void version(const std::string& text);            // what --version prints
  void when_chosen(std::function<void()> action);   // called while the line is parsed, when all options are set
  bool was_given(const std::string& option) const;  // false too for an option that there is not

 private:
  CLI::App* app_;
};

class CommandLine {
 public:
  CommandLine(const std::string& about, const std::string& name);
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;
  ~CommandLine();

  Command program() { return Command(*app_); }
  // Sets variables, calls what was chosen. The program's exit code if it is to end now: kDone after --help or --version, `wrong`
  // after a line that cannot be obeyed; the reason is on stderr then.
  std::optional<int> parse(int argc, char** argv, int wrong);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace godwit::cli
