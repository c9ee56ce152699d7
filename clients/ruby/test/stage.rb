# frozen_string_literal: true

# `ruby -w` looks at the libraries, too. A warning of our own code is an error.
module Warning
  def self.warn(message, **)
    raise message if message.match?(/cbrgateway|_test/)
  end
end

require "cbrgateway"
require "fileutils"
require "minitest/autorun"

# What all tests need of the frame.
module Stage
  # A test that gets here has passed its check.
  def passed(check)
    FileUtils.touch(File.join(ENV.fetch("CBR_TEST_RESULTS"), check))
  end
end
