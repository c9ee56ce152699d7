-- topic, life that is known, after -> {life, newest, ids}: what has changed since, of the same life of the data, else all; `newest`: what to ask after next
local topic, known, after = unpack(ARGV)
local life_now = life()
local newest = redis.call('GET', at('sequence')) or '0'
if known == life_now then return {life_now, newest, redis.call('ZRANGEBYSCORE', at('changes:' .. topic), '(' .. after, '+inf')} end
return {life_now, newest, redis.call('ZRANGE', at('topic:' .. topic), 0, -1)}
