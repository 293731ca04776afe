#include "common/config/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <exception>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

using Kind = YamlNode::Kind;

constexpr size_t kMaxDepth = 16;
constexpr size_t kMaxNodes = 65'536;
constexpr size_t kMaxKeys = 64;
constexpr size_t kMaxShown = 80;

YamlNode At(const std::shared_ptr<const Source>& source, size_t line, size_t column) {
  YamlNode node;
  node.source = source;
  node.line = static_cast<int>(line);
  node.column = static_cast<int>(column);
  return node;
}

// Carries a refusal out of yaml-cpp's parser.
class Refusal : public std::exception {
 public:
  explicit Refusal(absl::Status status) : status_(std::move(status)) {}
  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

// Builds the tree from yaml-cpp's events rather than from its nodes, which keep
// neither duplicate keys nor the difference between 22 and "22".
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(absl::string_view text, std::shared_ptr<const Source> source)
      : text_(text), source_(std::move(source)) {}

  YamlNode TakeRoot() { return root_.has_value() ? *std::move(root_) : At(source_, 1, 1); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      Refuse(mark,
             "a second document starts here; keep one, with all its top-level keys in the same "
             "column");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    RefuseAnchor(mark, anchor);
    Add(NewNode(Kind::kNull, mark));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    Refuse(mark, "aliases are not used here; write the value itself");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    RefuseAnchor(mark, anchor);
    YamlNode node = NewNode(Kind::kScalar, mark);
    node.text = value;
    node.quoted = tag == "!";
    if (node.quoted) {
      CheckQuotes(mark);
    } else {
      RefuseTag(mark, tag);
      if (!absl::StartsWith(Rest(mark), value)) {
        Refuse(mark, "this value goes on in the next line; write it in one");
      }
    }
    Add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    Open(Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    Open(Kind::kMapping, mark, tag, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  [[noreturn]] void Refuse(const YAML::Mark& mark, absl::string_view message) const {
    throw Refusal(At(source_, mark.line + 1, mark.column + 1).Error(message));
  }
  [[noreturn]] static void Refuse(const YamlNode& node, absl::string_view message) {
    throw Refusal(node.Error(message));
  }

  void RefuseAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor) Refuse(mark, "anchors are not used here; remove the &name");
  }

  void RefuseTag(const YAML::Mark& mark, const std::string& tag) const {
    if (tag != "?") Refuse(mark, "tags are not used here; remove the one that starts with \"!\"");
  }

  absl::string_view Rest(const YAML::Mark& mark) const {
    const auto offset = static_cast<size_t>(mark.pos);
    return offset < text_.size() ? text_.substr(offset) : absl::string_view();
  }

  // yaml-cpp lets the end of the file close a quote, which swallows every line
  // in between.
  void CheckQuotes(const YAML::Mark& mark) const {
    const absl::string_view rest = Rest(mark);
    const char quote = rest.empty() ? '!' : rest[0];
    if (quote == '!') RefuseTag(mark, "!");
    if (quote != '"' && quote != '\'') {
      Refuse(mark, "text blocks are not used here; write the value in one line");
    }
    for (size_t i = 1; i < rest.size() && rest[i] != '\n'; ++i) {
      if (rest[i] == quote) return;
      if (quote == '"' && rest[i] == '\\') ++i;
    }
    Refuse(mark, absl::StrCat("the quote that opens here is not closed in this line; add ",
                              absl::string_view(&quote, 1)));
  }

  YamlNode NewNode(Kind kind, const YAML::Mark& mark) {
    if (++nodes_ > kMaxNodes) {
      Refuse(mark, absl::StrCat("there are more than ", kMaxNodes, " values in this file"));
    }
    YamlNode node = At(source_, mark.line + 1, mark.column + 1);
    node.kind = kind;
    return node;
  }

  void Open(Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    if (open_.size() == kMaxDepth) {
      Refuse(mark, absl::StrCat("values are nested more than ", kMaxDepth, " deep"));
    }
    if (WantsKey()) Refuse(mark, "a key must be a plain name");
    open_.push_back(NewNode(kind, mark));
  }

  void Close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    Add(std::move(node));
  }

  bool WantsKey() const {
    return !open_.empty() && open_.back().kind == Kind::kMapping &&
           open_.back().keys.size() == open_.back().items.size();
  }

  void Add(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (WantsKey()) {
      AddKey(std::move(node));
    } else {
      YamlNode& parent = open_.back();
      if (parent.kind == Kind::kMapping && node.kind == Kind::kNull) {
        node.line = parent.keys.back().line;
        node.column = parent.keys.back().column;
      }
      parent.items.push_back(std::move(node));
    }
  }

  void AddKey(YamlNode key) {
    if (key.kind != Kind::kScalar) Refuse(key, "a key is missing before the colon");
    YamlNode& mapping = open_.back();
    for (const YamlNode& other : mapping.keys) {
      if (other.text == key.text) {
        Refuse(key, absl::StrCat("key ", Quoted(key.text), " is already set in line ", other.line,
                                 "; remove one of them"));
      }
    }
    if (mapping.keys.size() == kMaxKeys) {
      Refuse(key, absl::StrCat("there are more than ", kMaxKeys, " keys in one mapping"));
    }
    mapping.keys.push_back(std::move(key));
  }

  const absl::string_view text_;
  const std::shared_ptr<const Source> source_;
  std::optional<YamlNode> root_;
  // The mappings and lists that are not closed yet, outermost first.
  std::vector<YamlNode> open_;
  size_t nodes_ = 0;
  int documents_ = 0;
};

// What yaml-cpp would misread or explain badly.
absl::Status CheckText(absl::string_view text, const std::shared_ptr<const Source>& source) {
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    absl::ConsumeSuffix(&line, "\r");
    if (!IsUtf8(line)) {
      return At(source, number, 1).Error("this line is not UTF-8; save the file as UTF-8");
    }
    for (size_t i = 0; i < line.size(); ++i) {
      const auto byte = static_cast<uint8_t>(line[i]);
      if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
        return At(source, number, i + 1)
            .Error(absl::StrCat("the control character ", Printable(line.substr(i, 1)),
                                " cannot stand here; remove it"));
      }
    }
    const size_t content = line.find_first_not_of(" \t");
    const size_t tab = line.find('\t');
    if (content != absl::string_view::npos && tab < content) {
      return At(source, number, tab + 1).Error("a tab indents this line; use spaces");
    }
  }
  return absl::OkStatus();
}

// yaml-cpp's messages name what its scanner saw; these say what a person did.
std::string Explain(const std::string& message) {
  namespace seen_as = YAML::ErrorMsg;
  const std::pair<absl::string_view, absl::string_view> explanations[] = {
      {seen_as::END_OF_SEQ_FLOW, R"(a list that "[" opened lacks a comma or its "]")"},
      {seen_as::END_OF_MAP_FLOW, R"(a mapping that "{" opened lacks a comma or its "}")"},
      {seen_as::FLOW_END,
       "this bracket closes none that is open; mend the pair, or put it in quotes where it is "
       "text"},
      {seen_as::MAP_VALUE,
       "this colon follows no key; check the indentation, and put text that holds a colon in "
       "quotes"},
      {seen_as::END_OF_MAP,
       "a \"key: value\" is wanted here; check the indentation and the quotes"},
      {seen_as::END_OF_SEQ, "a \"- item\" is wanted here; check the indentation"},
      {seen_as::BLOCK_ENTRY, "no list item can stand here; check the indentation"},
      {seen_as::MAP_KEY, "no key can stand here; check the indentation"},
      {seen_as::UNKNOWN_TOKEN, "no value can start with this character; put the value in quotes"},
      {seen_as::UNKNOWN_ANCHOR,
       "aliases are not used here; write the value itself, in quotes if it starts "
       "with \"*\""},
  };
  for (const auto& [seen, explanation] : explanations) {
    if (message == seen) return std::string(explanation);
  }
  return absl::StrCat("this is not YAML: ", Printable(message));
}

}  // namespace

const YamlNode* YamlNode::Find(absl::string_view key) const {
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].text == key) return &items[i];
  }
  return nullptr;
}

absl::Status YamlNode::Error(absl::string_view message) const {
  return absl::InvalidArgumentError(
      absl::StrCat(Printable(source->name), ":", line, ":", column, ": ", message));
}

absl::StatusOr<YamlNode> ParseYaml(absl::string_view text,
                                   const std::shared_ptr<const Source>& source) {
  if (text.size() > kMaxConfigBytes) {
    return At(source, 1, 1)
        .Error(absl::StrCat("the file has more than ", kMaxConfigBytes, " bytes"));
  }
  absl::ConsumePrefix(&text, "\xef\xbb\xbf");
  POSTERN_RETURN_IF_ERROR(CheckText(text, source));
  TreeBuilder builder(text, source);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refusal& refusal) {
    return refusal.status();
  } catch (const YAML::Exception& e) {
    const size_t line = e.mark.is_null() ? 1 : e.mark.line + 1;
    const size_t column = e.mark.is_null() ? 1 : e.mark.column + 1;
    return At(source, line, column).Error(Explain(e.msg));
  }
  return builder.TakeRoot();
}

void Overlay(YamlNode over, YamlNode& base) {
  if (over.kind != Kind::kMapping || base.kind != Kind::kMapping) {
    base = std::move(over);
    return;
  }
  for (size_t i = 0; i < over.keys.size(); ++i) {
    size_t at = 0;
    while (at < base.keys.size() && base.keys[at].text != over.keys[i].text) ++at;
    if (at < base.keys.size()) {
      base.keys[at] = std::move(over.keys[i]);
      Overlay(std::move(over.items[i]), base.items[at]);
    } else {
      base.keys.push_back(std::move(over.keys[i]));
      base.items.push_back(std::move(over.items[i]));
    }
  }
}

std::string Quoted(absl::string_view text) {
  const bool is_short = text.size() <= kMaxShown;
  return absl::StrCat("\"", Printable(text.substr(0, kMaxShown)), is_short ? "\"" : "...\"");
}

}  // namespace postern
