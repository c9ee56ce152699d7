#include "cbrgateway/pages.h"

namespace cbrgateway {

const google::protobuf::FieldDescriptor& RowsField(const google::protobuf::Descriptor& page) {
  const google::protobuf::FieldDescriptor* rows = nullptr;
  for (int index = 0; index < page.field_count(); ++index) {
    const auto* field = page.field(index);
    const bool listed = field->is_repeated() && field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE;
    if (listed && (!rows || field->number() < rows->number())) {
      rows = field;
    }
  }
  if (!rows) {
    throw std::invalid_argument(page.name() + " is not the answer of a list: it has no rows");
  }
  return *rows;
}

}  // namespace cbrgateway
