# frozen_string_literal: true

require_relative "stage"

# Lists: clients/frame/lists.py, and what only Ruby can get wrong.
class PagesTest < Minitest::Test
  include Stage

  def test_pages
    list = script.stub(VaultService).method(:list_vaults)
    request = ListVaultsRequest.new(name: "pages")
    [false, true].each do |ahead|
      assert_equal %w[one two three], CbrGateway.rows(list, request, prefetch: ahead).map(&:id)
      assert_equal [2, 0, 1], CbrGateway.pages(list, request, prefetch: ahead).map { |page| page.vaults.size }
    end
    assert_empty request.page_token, "the caller's own message has been changed"
    assert_equal %w[three], CbrGateway.rows(list, ListVaultsRequest.new(name: "pages", page_token: "2")).map(&:id)
    failed(FAILED_PRECONDITION, "STATE_INVALID") { CbrGateway.rows(list, ListVaultsRequest.new(name: "other")).first }
    all_over_the_gateway
    passed "pages"
  end

  def test_each_list_has_rows
    lists = CbrGateway::V1.constants.map { |name| CbrGateway::V1.const_get(name) }
    answers = lists.select { |each| each.respond_to?(:descriptor) && each.descriptor.respond_to?(:lookup) && each.descriptor.lookup("next_page_token") }
    assert_operator answers.size, :>, 20
    answers.each { |answer| assert_empty CbrGateway::Pages.rows(answer.new) }
    assert_raises(ArgumentError) { CbrGateway.rows(vaults.method(:get_vault), GetVaultRequest.new) }
  end

  def test_one_page_is_asked_for_ahead_and_no_more
    tokens = Queue.new
    list = lambda do |request|
      tokens << request.page_token
      ListVaultsResponse.new(vaults: [Vault.new(id: request.page_token)], next_page_token: (request.page_token.to_i + 1).to_s)
    end
    rows = CbrGateway.rows(list, ListVaultsRequest.new, prefetch: true)
    assert_equal ["", "1"], rows.first(2).map(&:id)
    assert_includes 2..3, tokens.size
    assert_equal 1_000, CbrGateway.rows(list, ListVaultsRequest.new).lazy.map(&:id).first(1_000).size
  end

  def test_a_list_that_does_not_go_on_ends
    list = ->(_) { ListVaultsResponse.new(next_page_token: "same") }
    failed(INTERNAL, "does not go on") { CbrGateway.pages(list, ListVaultsRequest.new).to_a }
  end

  private

  def all_over_the_gateway
    made = %w[ruby-pages-1 ruby-pages-2].map { |name| vaults.create_vault(new_vault(name)).vault.id }
    listed = vaults.list_vaults(ListVaultsRequest.new).vaults.map(&:id)
    assert_empty made - listed
    assert_equal listed.sort, CbrGateway.rows(vaults.method(:list_vaults), ListVaultsRequest.new(page_size: 1)).map(&:id).sort
    made.each { |id| vaults.delete_vault(DeleteVaultRequest.new(vault_id: id)) }
  end
end
