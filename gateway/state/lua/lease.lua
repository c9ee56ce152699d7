-- holder, ttl_s, [[key, limit, shadow], ...] -> {1 if leased, {index, holders} of each slot without a place}
local holder, ttl_s, slots = ARGV[1], tonumber(ARGV[2]), cjson.decode(ARGV[3])
local short, refused = {}, false
for index, slot in ipairs(slots) do
  local key = at('lease:' .. slot[1])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', exact(now))
  local holders = redis.call('ZCARD', key)
  if holders >= slot[2] and not redis.call('ZSCORE', key, holder) then
    table.insert(short, {index - 1, holders})
    refused = refused or not slot[3]
  end
end
if refused then return {0, short} end
for _, slot in ipairs(slots) do
  local key = at('lease:' .. slot[1])
  redis.call('ZADD', key, exact(now + ttl_s), holder)
  if redis.call('PTTL', key) < ttl_s * 1000 then redis.call('PEXPIRE', key, whole(math.ceil(ttl_s * 1000))) end
end
return {1, short}
