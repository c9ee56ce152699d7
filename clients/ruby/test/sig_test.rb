# frozen_string_literal: true

require_relative "stage"
begin
  require "rbs"
rescue LoadError
  return
end

# The types that the gem ships say what its classes have.
class SigTest < Minitest::Test
  SIG = Gem.loaded_specs["cbrgateway"]&.full_gem_path || File.expand_path("..", __dir__)

  def declared
    declarations = RBS::Parser.parse_signature(File.read(File.join(SIG, "sig", "cbrgateway.rbs")))
    declarations = declarations[2] if declarations[2].is_a?(Array)
    declarations.first.members
  end

  def test_the_classes_have_what_their_types_say
    classes = declared.grep(RBS::AST::Declarations::Class)
    assert_operator classes.size, :>=, 5
    classes.each do |each|
      real = CbrGateway.const_get(each.name.name)
      named = each.members.reject { |member| member.name == :initialize }.map(&:name)
      assert_empty named - real.public_instance_methods, real.name
      next if real < Struct

      assert_empty real.public_instance_methods(false) - named - %i[full_message], real.name
    end
  end

  def test_the_module_has_the_functions_that_its_types_say
    functions = declared.grep(RBS::AST::Members::MethodDefinition).map(&:name)
    assert_equal [], functions - CbrGateway.singleton_methods(false)
  end
end
