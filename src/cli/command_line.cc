#include "cli/command_line.h"

#include <cstdint>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/console.h"

namespace godwit::cli {

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::show_default() {
  option_->capture_default_str();
  return *this;
}

Option& Option::one_each() {
  option_->allow_extra_args(false);
  return *this;
}

Option& Option::type_name(const char* text) {
  option_->type_name(text);
  return *this;
}

Option& Option::positive() {
  option_->check(CLI::PositiveNumber);
  return *this;
}

Option& Option::between(int low, int high) {
  option_->check(CLI::Range(low, high));
  return *this;
}

Command Command::add_group(const std::string& name, const std::string& about) {
  Command group = add_verb(name, about);
  group.require_verb();
  return group;
}

Command Command::add_verb(const std::string& name, const std::string& about) {
  return Command(*app_->add_subcommand(name, about)->fallthrough());
}

template <class T>
Option Command::add_option(const std::string& name, T& value, const std::string& about) {
  return Option(*app_->add_option(name, value, about));
}

template Option Command::add_option(const std::string&, std::string&, const std::string&);
template Option Command::add_option(const std::string&, std::vector<std::string>&, const std::string&);
template Option Command::add_option(const std::string&, bool&, const std::string&);
template Option Command::add_option(const std::string&, std::optional<int>&, const std::string&);
template Option Command::add_option(const std::string&, std::uint16_t&, const std::string&);
template Option Command::add_option(const std::string&, std::optional<std::uint16_t>&, const std::string&);
template Option Command::add_option(const std::string&, std::uint32_t&, const std::string&);
template Option Command::add_option(const std::string&, std::optional<std::uint32_t>&, const std::string&);
template Option Command::add_option(const std::string&, std::uint64_t&, const std::string&);
template Option Command::add_option(const std::string&, double&, const std::string&);
template Option Command::add_option(const std::string&, std::optional<double>&, const std::string&);

void Command::add_flag(const std::string& name, bool& value, const std::string& about) {
  app_->add_flag(name, value, about);
}

void Command::require_verb() {
  app_->require_subcommand(1);
}

void Command::footer(const std::string& text) {
  app_->footer(text);
}

void Command::version(const std::string& text) {
  app_->set_version_flag("--version", text);
}

void Command::when_chosen(std::function<void()> action) {
  app_->callback(std::move(action));
}

bool Command::was_given(const std::string& option) const {
  const CLI::Option* found = app_->get_option_no_throw(option);
  return found != nullptr && found->count() > 0;
}

CommandLine::CommandLine(const std::string& about, const std::string& name) : app_(std::make_unique<CLI::App>(about, name)) {}
CommandLine::~CommandLine() = default;

std::optional<int> CommandLine::parse(int argc, char** argv, int wrong) {
  try {
    app_->parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    return app_->exit(error) == 0 ? kDone : wrong;
  }
}

}  // namespace godwit::cli
