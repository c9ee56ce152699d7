# frozen_string_literal: true

module CbrGateway
  # The pages of one list, one after the other.
  # @api private
  class Pages
    # @return [Enumerable] the rows of a page: of its repeated fields of messages the one with the lowest number
    def self.rows(page)
      lists = page.class.descriptor.select { |field| field.label == :repeated && field.type == :message }
      raise ArgumentError, "#{page.class} is not the answer of a list: it has no rows" if lists.empty?

      lists.min_by(&:number).get(page)
    end

    # @param rpc [#call]
    # @param prefetch [Boolean] whether the next page is asked for while the caller is at work on this one
    def initialize(rpc, request, prefetch)
      raise ArgumentError, "#{request.class} is not the request of a list: it has no page_token" unless request.respond_to?(:page_token)

      @rpc = rpc
      @request = Google::Protobuf.deep_copy(request)
      @prefetch = prefetch
    end

    def each
      call = -> { @rpc.call(@request) }
      while call
        page = call.call
        call = following(page)
        yield page
      end
    ensure
      @coming&.kill
    end

    private

    # The call of the next page, nil after the last one.
    def following(page)
      token = page.next_page_token
      return if token.empty?
      raise Error.new(GRPC::Internal.new("the list does not go on: the gateway gave the token of this page for the next one")) if token == @request.page_token

      request = Google::Protobuf.deep_copy(@request)
      request.page_token = token
      @request = request
      return -> { @rpc.call(request) } unless @prefetch

      coming = @coming = Thread.new { @rpc.call(request) }
      coming.report_on_exception = false
      -> { coming.value }
    end
  end

  # The answers of a list, page after page. One is held at a time, with `prefetch` two. Besides the rows they have what a list tells of itself, such as
  # `total_size`, `unreadable_rows` or `coverage`.
  #
  #   CbrGateway.pages(vaults.method(:list_vaults), CbrGateway::V1::ListVaultsRequest.new(page_size: 200)) { |page| puts page.total_size }
  #
  # @param rpc [#call] the method of a stub
  # @param request [Object] its request; one with a `page_token` begins there
  # @param prefetch [Boolean] whether the next page is asked for while the block is at work on this one
  # @return [Enumerator] the pages, if there is no block
  # @raise [ArgumentError] if the request is not that of a list
  # @raise [Error] while it goes through the pages
  def self.pages(rpc, request, prefetch: false, &block)
    Pages.new(rpc, request, prefetch)
    pages = Enumerator.new { |out| Pages.new(rpc, request, prefetch).each { |page| out << page } }
    block ? pages.each(&block) : pages
  end

  # The rows of a list, of all pages. What a page tells beside them is in {pages}.
  #
  #   CbrGateway.rows(vaults.method(:list_vaults), CbrGateway::V1::ListVaultsRequest.new).each { |vault| puts vault.name }
  #
  # @param (see pages)
  # @return [Enumerator] the rows, if there is no block
  def self.rows(rpc, request, prefetch: false, &block)
    pages = pages(rpc, request, prefetch: prefetch)
    rows = Enumerator.new { |out| pages.each { |page| Pages.rows(page).each { |row| out << row } } }
    block ? rows.each(&block) : rows
  end
end
