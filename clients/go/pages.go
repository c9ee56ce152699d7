package cbrgateway

import (
	"context"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ListRequest is the request of a list, whichever it is.
type ListRequest interface {
	proto.Message
	GetPageToken() string
}

// ListAnswer is one page of a list.
type ListAnswer interface {
	proto.Message
	GetNextPageToken() string
}

// List is the method of a generated client, such as vaults.ListVaults.
type List[Q ListRequest, A ListAnswer] func(context.Context, Q, ...grpc.CallOption) (A, error)

// A PageOption says how Pages and Rows read a list.
type PageOption func(*pageSettings)

type pageSettings struct{ prefetch bool }

// Prefetch asks for the next page while the caller is at work on this one.
func Prefetch() PageOption {
	return func(s *pageSettings) { s.prefetch = true }
}

// Pages goes through the answers of a list; one is held at a time. An error is the last that it yields.
//
//	for page, err := range cbrgateway.Pages(ctx, vaults.ListVaults, &cbr.ListVaultsRequest{}) {
func Pages[Q ListRequest, A ListAnswer](ctx context.Context, list List[Q, A], request Q, options ...PageOption) iter.Seq2[A, error] {
	var s pageSettings
	for _, option := range options {
		option(&s)
	}
	return func(yield func(A, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		token := request.GetPageToken()
		next := func() (A, error) { return list(ctx, request) }
		for {
			page, err := next()
			if err == nil && token != "" && page.GetNextPageToken() == token {
				err = typed(status.Error(codes.Internal, "the list does not go on: a page names itself as the next one"), peer{}, "")
			}
			if err != nil {
				yield(page, err)
				return
			}
			if token = page.GetNextPageToken(); token != "" {
				following := withPageToken(request, token)
				next = func() (A, error) { return list(ctx, following) }
				if s.prefetch {
					next = ahead(next)
				}
			}
			if !yield(page, nil) || token == "" {
				return
			}
		}
	}
}

// Rows goes through the rows of a list, of all its pages. rows says where they stand in a page: Pages has what else is there.
//
//	for vault, err := range cbrgateway.Rows(ctx, vaults.ListVaults, &cbr.ListVaultsRequest{}, (*cbr.ListVaultsResponse).GetVaults) {
func Rows[Q ListRequest, A ListAnswer, R any](
	ctx context.Context, list List[Q, A], request Q, rows func(A) []R, options ...PageOption,
) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		for page, err := range Pages(ctx, list, request, options...) {
			if err != nil {
				var none R
				yield(none, err)
				return
			}
			for _, row := range rows(page) {
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

// ahead makes a call at once; what it answers waits for it.
func ahead[A any](call func() (A, error)) func() (A, error) {
	var answer A
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer, err = call()
	}()
	return func() (A, error) {
		<-done
		return answer, err
	}
}

// withPageToken is the same request for another page. The caller's own stays as it is.
func withPageToken[Q ListRequest](request Q, token string) Q {
	following := proto.Clone(request).(Q)
	reflected := following.ProtoReflect()
	reflected.Set(reflected.Descriptor().Fields().ByName("page_token"), protoreflect.ValueOfString(token))
	return following
}
