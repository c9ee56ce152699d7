use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::{Response, Status};

use crate::Error;
use crate::lists::List;

type Coming<P> = Pin<Box<dyn Future<Output = Result<P, Error>> + Send>>;
type Call<L> = Box<dyn FnMut(L) -> Coming<<L as List>::Page> + Send>;

/// The pages of the list that `request` asks for, one after the other, as a [`Stream`] and by [`Pages::try_next`]. `call` makes the
/// call for each; one page is held at a time. They have what a list tells beside its rows, such as `total_size`,
/// `unreadable_rows` or `coverage`.
///
/// A request with a `page_token` begins there.
///
/// ```no_run
/// # use cbrgateway::{Connection, Error, rows, v1, v1::vault_service_client::VaultServiceClient};
/// # async fn listed(connection: Connection) -> Result<(), Error> {
/// let vaults = VaultServiceClient::new(connection);
/// let mut listed = rows(v1::ListVaultsRequest::default(), move |request| {
///     let mut vaults = vaults.clone();
///     async move { vaults.list_vaults(request).await }
/// });
/// while let Some(vault) = listed.try_next().await? {
///     println!("{}", vault.name);
/// }
/// # Ok(())
/// # }
/// ```
pub fn pages<L, A>(request: L, mut call: impl FnMut(L) -> A + Send + 'static) -> Pages<L>
where
    L: List,
    A: Future<Output = Result<Response<L::Page>, Status>> + Send + 'static,
{
    let mut call: Call<L> = Box::new(move |request| {
        let answer = call(request);
        Box::pin(async move { Ok(answer.await?.into_inner()) })
    });
    let next = Some(Ok(call(request.clone())));
    Pages { call, request, prefetch: false, next }
}

/// The rows of a list, of all of its [`pages`].
pub fn rows<L, A>(request: L, call: impl FnMut(L) -> A + Send + 'static) -> Rows<L>
where
    L: List,
    A: Future<Output = Result<Response<L::Page>, Status>> + Send + 'static,
{
    Rows { pages: pages(request, call), page: VecDeque::new() }
}

/// The pages of a list: see [`pages`].
#[must_use = "nothing is asked for before the first page"]
pub struct Pages<L: List> {
    call: Call<L>,
    request: L,
    prefetch: bool,
    /// The next page, or why there is none; None at the end.
    next: Option<Result<Coming<L::Page>, Error>>,
}

/// The rows of a list: see [`rows`].
#[must_use = "nothing is asked for before the first row"]
pub struct Rows<L: List> {
    pages: Pages<L>,
    page: VecDeque<L::Row>,
}

impl<L: List> Pages<L> {
    /// Asks for the next page, in a task of its own, while the caller is at work on this one.
    pub fn prefetch(mut self) -> Self {
        self.prefetch = true;
        self
    }

    /// The next page; None at the end.
    ///
    /// # Errors
    ///
    /// That of the call. Nothing comes after it.
    pub async fn try_next(&mut self) -> Result<Option<L::Page>, Error> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await.transpose()
    }

    fn follow(&mut self, token: &str) {
        self.next = if token.is_empty() {
            None
        } else if token == self.request.page_token() {
            Some(Err(Status::internal("the list does not go on: a page names itself as the next one").into()))
        } else {
            self.request.set_page_token(token);
            let coming = (self.call)(self.request.clone());
            Some(Ok(if self.prefetch { Box::pin(Ahead(tokio::spawn(coming))) } else { coming }))
        };
    }
}

impl<L: List> Rows<L> {
    /// As [`Pages::prefetch`].
    pub fn prefetch(mut self) -> Self {
        self.pages = self.pages.prefetch();
        self
    }

    /// The next row; None at the end.
    ///
    /// # Errors
    ///
    /// As [`Pages::try_next`].
    pub async fn try_next(&mut self) -> Result<Option<L::Row>, Error> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await.transpose()
    }
}

impl<L: List> Stream for Pages<L> {
    type Item = Result<L::Page, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let page = match &mut this.next {
            Some(Ok(coming)) => ready!(coming.as_mut().poll(context)),
            _ => return Poll::Ready(mem::take(&mut this.next).map(|next| Err(next.err().expect("a page is taken above")))),
        };
        this.next = None;
        if let Ok(page) = &page {
            this.follow(L::next_page_token(page));
        }
        Poll::Ready(Some(page))
    }
}

impl<L: List> Stream for Rows<L> {
    type Item = Result<L::Row, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(row) = self.page.pop_front() {
                return Poll::Ready(Some(Ok(row)));
            }
            match ready!(Pin::new(&mut self.pages).poll_next(context)) {
                Some(Ok(page)) => self.page = L::rows(page).into(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// A page that a task asks for, which ends with it.
struct Ahead<P>(JoinHandle<Result<P, Error>>);

impl<P> Future for Ahead<P> {
    type Output = Result<P, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(ended.unwrap_or_else(|lost| Err(Status::cancelled(lost.to_string()).into())))
    }
}

impl<P> Drop for Ahead<P> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<L: List> fmt::Debug for Pages<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("request", &self.request).field("prefetch", &self.prefetch).finish_non_exhaustive()
    }
}

impl<L: List> fmt::Debug for Rows<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("pages", &self.pages).field("left", &self.page.len()).finish()
    }
}
