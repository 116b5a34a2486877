// A list that is threaded through the items of a table: each holds the indices of its neighbours, so that putting one in and
// taking it out anywhere is constant and asks for no memory. The list does not know the table: it is handed with each call.
#pragma once

namespace godwit::homa {

// `kPrevious` and `kNext` are the members of Item that belong to this list. Table has at(Index), which gives an Item&.
template <typename Item, typename Index, Index kNone, Index Item::* kPrevious, Index Item::* kNext>
class IndexList {
 public:
  bool is_empty() const { return first_ == kNone; }
  Index first() const { return first_; }

  // The item must not be in the list.
  template <typename Table>
  void append(Table& table, Index index) {
    Item& item = table.at(index);
    item.*kPrevious = last_;
    item.*kNext = kNone;
    (last_ == kNone ? first_ : table.at(last_).*kNext) = index;
    last_ = index;
  }

  // The item must be in the list; its neighbours stay as they were in it.
  template <typename Table>
  void remove(Table& table, Index index) {
    const Item& item = table.at(index);
    (item.*kPrevious == kNone ? first_ : table.at(item.*kPrevious).*kNext) = item.*kNext;
    (item.*kNext == kNone ? last_ : table.at(item.*kNext).*kPrevious) = item.*kPrevious;
  }

 private:
  Index first_ = kNone, last_ = kNone;
};

}  // namespace godwit::homa
