// A JSON object read field by field: what is missing or of another type is remembered as the first error, and one check at the
// end is enough.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "base/error.h"

namespace godwit::host {

class JsonFields {
 public:
  // Borrows the object.
  explicit JsonFields(const boost::json::object& object) : object_(object) {}

  // The default stands where the field is missing; without one that is an error.
  std::string text(std::string_view key, std::optional<std::string> otherwise = std::nullopt);
  std::uint64_t number(std::string_view key, std::optional<std::uint64_t> otherwise = std::nullopt);
  double real(std::string_view key, double otherwise);
  bool flag(std::string_view key, bool otherwise = false);
  std::vector<std::string> texts(std::string_view key);
  bool has(std::string_view key) const { return object_.contains(key); }

  const std::optional<Error>& error() const { return error_; }

 private:
  const boost::json::value* find(std::string_view key) const { return object_.if_contains(key); }
  void fail_field(std::string_view key, std::string_view wanted);

  const boost::json::object& object_;
  std::optional<Error> error_;
};

}  // namespace godwit::host
