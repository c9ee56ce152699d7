-- process, ttl_s -> {1 if it was there without a break, all processes that are there}
local process, ttl_s, key = ARGV[1], tonumber(ARGV[2]), at('processes')
notice_restart()
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', exact(now))) do redis.call('SREM', at('members'), gone) end
redis.call('ZREMRANGEBYSCORE', key, '-inf', exact(now))
-- Later than can be: the server that was asked before had another clock.
redis.call('ZREMRANGEBYSCORE', key, '(' .. exact(now + ttl_s), '+inf')
local unbroken = redis.call('ZSCORE', key, process) and 1 or 0
redis.call('ZADD', key, exact(now + ttl_s), process)
redis.call('SADD', at('members'), process)
return {unbroken, redis.call('ZRANGE', key, 0, -1)}
