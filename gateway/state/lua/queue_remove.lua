-- queue, then keys
for i = 2, #ARGV do
  redis.call('ZREM', at('queue:' .. ARGV[1]), ARGV[i])
  redis.call('HDEL', at('queue_values:' .. ARGV[1]), ARGV[i])
end
return 1
